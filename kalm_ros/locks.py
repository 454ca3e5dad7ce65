"""One lock made of several, for what needs all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence


class AllOf:
    """Is taken when every one of its locks is; those that one cannot wait for are given back.

    Args:
        locks: taken in this order.
    """

    def __init__(self, locks: Sequence[threading.Lock]) -> None:
        self._locks = tuple(locks)

    def acquire(self, blocking: bool = True, timeout: float = -1.0) -> bool:
        """Take all of them, or none; as `threading.Lock.acquire`."""
        end = time.monotonic() + timeout
        for number, lock in enumerate(self._locks):
            left = max(0.0, end - time.monotonic()) if blocking and timeout >= 0.0 else timeout
            if not lock.acquire(blocking, left):
                for taken in reversed(self._locks[:number]):
                    taken.release()
                return False
        return True

    def release(self) -> None:
        """Give all of them back."""
        for lock in reversed(self._locks):
            lock.release()

    def locked(self) -> bool:
        """Return whether one of them is taken."""
        return any(lock.locked() for lock in self._locks)
