"""A web page of a few plain elements: all text is escaped, nothing is fetched, nothing runs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem;
       color: #1d2430; background: #fff; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #d5dae2; }
p.lead { font-size: 1.15rem; color: #46505f; margin-top: 0; } p { max-width: 52rem; }
figure { margin: 1rem 0; } img { max-width: 100%; border-radius: 4px; }
figcaption { color: #5a6472; font-size: .9rem; }
table { border-collapse: collapse; margin: .8rem 0; } th { color: #46505f; }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0;
         border-bottom: 1px solid #e7eaf0; }
.good { color: #17803d; } .bad { color: #b3261e; }
.chip { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em;
        border: 1px solid #333; }
pre { background: #f4f6f9; padding: .8rem; overflow-x: auto; font-size: .85rem; }
code { background: #f4f6f9; padding: 0 .25rem; }
"""


class Html(str):
    """Text that is markup already; any other text is escaped where it is put in."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return a value as escaped text; markup stays as it is."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def element(tag: str, *content: object, **attributes: str) -> Html:
    """Return an element; `class_` stands for the attribute class."""
    given = "".join(f' {k.rstrip("_")}="{escape(v)}"' for k, v in attributes.items())
    return Html(f"<{tag}{given}>{''.join(text(item) for item in content)}</{tag}>")


def verdict(good: bool, words: object) -> Html:
    """Return words in green or red."""
    return element("span", words, class_="good" if good else "bad")


def picture(source: str, caption: str) -> Html:
    """Return a figure; `source` is a path relative to the page."""
    image = Html(f'<img src="{escape(source)}" alt="{escape(caption)}" loading="lazy">')
    return element("figure", image, element("figcaption", caption))


def table(titles: Sequence[object], rows: Sequence[Sequence[object]]) -> Html:
    """Return a table; nothing when it has no rows."""
    if not rows:
        return Html("")
    head = element("tr", *(element("th", title) for title in titles))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    return element("table", head, *body)


def section(title: str, *content: object) -> Html:
    """Return a heading and what belongs to it."""
    return Html(element("h2", title) + "\n" + "\n".join(text(item) for item in content))


def folded(title: str, *content: object) -> Html:
    """Return content that shows when its title is clicked."""
    return element("details", element("summary", title), *content)


def document(title: str, *content: object) -> str:
    """Return the whole page."""
    body = "\n".join(text(item) for item in content)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )
