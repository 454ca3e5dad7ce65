"""`report/index.html`: all stages of a skill's making on one page, from record and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from kalm_core.report.overlay import keypoint_color
from kalm_core.report.page import (
    Html,
    document,
    element,
    folded,
    picture,
    section,
    table,
    text,
    verdict,
)
from kalm_core.skill import Skill

PAGE = "index.html"
_STAGES = ("read", "propose", "verify", "train", "write")


def write_skill_page(folder: Path, skill: Skill) -> Path:
    """Write the page beside the pictures that it shows.

    Args:
        folder: the skill's `report/`; only pictures that are in it are shown.
        skill: of which the page tells.

    Returns:
        The page.
    """
    content = document(
        f"Skill {skill.name}",
        element("h1", skill.name),
        element("p", skill.task, class_="lead"),
        _summary(skill),
        _demonstrations(folder, skill),
        _attempts(folder, skill),
        _verification(folder, skill),
        _keypoints(skill),
        _policy(folder, skill),
        _vlm(folder, skill),
        _making(skill),
    )
    path = folder / PAGE
    temporary = folder / f".{PAGE}.tmp"
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)
    return path


def _summary(skill: Skill) -> Html:
    record = skill.record
    seconds = sum(record.get("seconds", {}).values())
    left_out = record.get("left_out", {})
    consistency = skill.reference.consistency
    parts = [
        f"Learned {skill.created} from {_count(len(skill.demonstrations), 'demonstration')}"
        + (f" ({len(left_out)} left out)" if left_out else "")
        + (f" in {seconds:.0f} s." if seconds else "."),
        f"{_count(len(skill.reference), 'keypoint')}; the least consistent one was found in "
        f"{100 * consistency.min():.0f} % of the demonstrations.",
    ]
    for edit in record.get("edited_keypoints", []):
        parts.append(
            f"Edited by hand on {edit['date']}: of {edit['before']} keypoints dropped "
            f"{_list(edit['dropped'])}; added {_list([_added(item) for item in edit['added']])}. "
            "The pictures of regions and masks are from before."
        )
    return Html("".join(element("p", part) for part in parts))


def _demonstrations(folder: Path, skill: Skill) -> Html:
    record = skill.record
    trust = record.get("training", {}).get("trust", {})
    rows: list[Sequence[object]] = []
    for item in record.get("demonstrations", []):
        found, count = item["found"], len(skill.reference)
        role = "reference" if item["name"] == record.get("reference_demonstration") else ""
        rows.append(
            (item["name"], f"{item['seconds']:.1f} s", f"{len(found)} of {count}",
             _list(sorted(set(range(1, count + 1)) - set(found)), "-"),
             f"{trust[item['name']]:.2f}" if item["name"] in trust else "-", role)
        )  # fmt: skip
    left_out = [(name, verdict(False, why)) for name, why in record.get("left_out", {}).items()]
    return section(
        "Demonstrations",
        table(("demonstration", "length", "keypoints found", "not found", "counts", ""), rows),
        element("p", "How much a demonstration counts when the policy is made: 1 is as much as on "
                "average; one that goes about it unlike most counts for little."),
        table(("left out", "because"), left_out),
        _shown(folder, "demonstrations.png", "Every first image with the keypoints found in it."),
    )  # fmt: skip


def _attempts(folder: Path, skill: Skill) -> Html:
    """Tell of every mask that was tried: the region that it came from, and what became of it."""
    names = {item["index"]: item["name"] for item in skill.record.get("demonstrations", [])}
    rows, pictures = [], []
    for number, item in enumerate(skill.record.get("attempts", []), 1):
        name = names.get(item["demonstration"], f"number {item['demonstration'] + 1}")
        reason = item["reason"]
        outcome = verdict(not reason, f"rejected: {reason}" if reason else "accepted")
        mask = "none" if item["mask"] < 0 else item["mask"] + 1
        rows.append((number, name, mask, item["candidates"], item["accepted"], outcome))
        words = f"rejected, {reason}" if reason else "taken"
        caption = f"Attempt {number}, in {name}: {words}."
        pictures.append(_shown(folder, f"attempt_{number:02d}.jpg", caption))
    return section(
        "Regions and masks tried",
        element("p", "A region of one demonstration's first image is segmented; points spread over "
                "one mask are looked for in all demonstrations. A mask too few of whose points are "
                "found again is rejected and another one is tried (Algorithm 1)."),
        table(("attempt", "in", "mask", "candidates", "accepted", "outcome"), rows),
        *pictures,
    )  # fmt: skip


def _verification(folder: Path, skill: Skill) -> Html:
    matches = [
        _shown(folder, f"matches_{item['index']:02d}.jpg", item["name"])
        for item in skill.record.get("demonstrations", [])
    ]
    legend = (
        "Left the reference, right the demonstration, a line for each keypoint found. Small dots "
        "are all candidates: green was accepted, red rejected, grey is where a candidate would "
        "match here, but was not counted."
    )
    return section(
        "Verification",
        _shown(folder, "consistency.png", "Share of the demonstrations in which each candidate "
               "of the accepted mask, and each keypoint kept, was found."),
        element("p", legend) if any(matches) else Html(""),
        *matches,
    )  # fmt: skip


def _keypoints(skill: Skill) -> Html:
    reference, count = skill.reference, len(skill.reference)
    rows = []
    for k in range(count):
        color = "rgb({}, {}, {})".format(*keypoint_color(k, count))
        chip = element("span", class_="chip", style=f"background: {color}")
        rows.append(
            (
                Html(chip + text(k + 1)),
                "{:.3f} {:.3f} {:.3f}".format(*reference.positions[k]),
                f"{100 * reference.consistency[k]:.0f} %",
                f"{reference.min_score[k]:.2f}",
            )
        )
    example = f"kalm keypoints edit skills/{skill.name} --drop 3 --add 312,201"
    return section(
        "Keypoints",
        table(
            ("keypoint", "place in the reference [m]", "found in", "lowest score where found"), rows
        ),
        element("p", "Drop or add one: ", element("code", example)),
    )


def _policy(folder: Path, skill: Skill) -> Html:
    training = skill.record.get("training", {})
    errors = [
        (words, *(f"{value:.4g}" for value in values.values()))
        for words, values in (
            ("on what it was trained on", training.get("fit")),
            ("on demonstrations held out", training.get("held_out_policy")),
            ("the same, motion carried along rigidly", training.get("held_out_rigid")),
        )
        if values
    ]
    fit = training.get("fit") or {}
    titles = ("error", *(f"{name} [{'rad' if name == 'rotation' else 'm'}]" for name in fit))
    return section(
        "Trajectories",
        table(titles, errors),
        _shown(folder, "training.png", "Loss while training."),
        _shown(folder, "trajectories.png", "Demonstrated and sampled trajectories."),
    )


def _vlm(folder: Path, skill: Skill) -> Html:
    transcript = folder.parent / "vlm" / "transcript.json"
    if not transcript.is_file():
        return Html("")
    link = element("a", "questions and answers", href="../vlm/transcript.json")
    return section(
        "What the VLM was asked",
        element("p", "All ", link, ", with the pictures that were shown in ",
                element("a", "vlm/pictures", href="../vlm/pictures"), "."),
        table(("", ""), list(skill.record.get("vlm", {}).items())),
    )  # fmt: skip


def _making(skill: Skill) -> Html:
    record = skill.record
    seconds: dict[str, float] = record.get("seconds", {})
    known = [stage for stage in _STAGES if stage in seconds]
    order = [*known, *(stage for stage in seconds if stage not in known)]
    sources = [(s.name, s.bag, s.sha256[:12]) for s in skill.demonstrations]
    return section(
        "How it was made",
        table(("stage", "seconds"), [(stage, f"{seconds[stage]:.1f}") for stage in order]),
        table(("package", "version"), list(record.get("versions", {}).items())),
        folded("Settings", element("pre", _yaml(skill.perception))),
        folded("Bags", table(("demonstration", "bag", "SHA-256"), sources)),
    )


def _shown(folder: Path, name: str, caption: str) -> Html:
    """Return a picture of the folder; nothing when it is not there."""
    return picture(name, caption) if (folder / name).is_file() else Html("")


def _added(item: dict[str, Any]) -> str:
    u, v = item["pixel"]
    forced = ", by force" if item["forced"] else ""
    return f"the point at {u},{v} (found in {item['found']} of {item['of']}{forced})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _list(values: Sequence[object], nothing: str = "none") -> str:
    return ", ".join(map(str, values)) or nothing


def _yaml(values: dict[str, Any]) -> str:
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
