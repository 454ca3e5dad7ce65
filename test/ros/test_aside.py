from __future__ import annotations

import threading

from kalm_ros.aside import Aside


def test_nobody_waits_and_only_the_newest_of_what_waits_is_done(graph):
    aside, release, done = Aside(graph.make("painter")), threading.Event(), []
    began, ended = threading.Event(), threading.Event()

    def first():
        began.set()
        release.wait(10.0)
        done.append("first")

    aside.call("the first", first)
    assert began.wait(10.0)
    aside.call("the second", lambda: done.append("second"))
    aside.call("the third", lambda: (done.append("third"), ended.set()))
    assert not done
    release.set()
    assert ended.wait(10.0)
    assert done == ["first", "third"]


def test_a_failure_is_logged_and_the_next_work_is_done(graph, capfd):
    aside, ended = Aside(graph.make("painter")), threading.Event()
    failed = threading.Event()

    def fail():
        failed.set()
        raise ZeroDivisionError("no paint")

    aside.call("the picture", fail)
    assert failed.wait(10.0)
    aside.call("the next", ended.set)
    assert ended.wait(10.0)
    assert "the picture" in (said := capfd.readouterr().err) and "no paint" in said
