"""Locks that are taken together or not at all."""

from __future__ import annotations

import threading

from kalm_ros.locks import AllOf


def test_all_are_taken_or_none() -> None:
    first, second = threading.Lock(), threading.Lock()
    both = AllOf((first, second))
    assert not both.locked() and both.acquire(blocking=False)
    assert first.locked() and second.locked() and both.locked()
    both.release()
    second.acquire()
    assert not both.acquire(blocking=False) and not both.acquire(timeout=0.05)
    assert not first.locked() and both.locked()
    threading.Timer(0.2, second.release).start()
    assert both.acquire(timeout=10.0)
    both.release()
    assert both.acquire()
