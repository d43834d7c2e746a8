"""When a teacher has failed so much that asking on is a waste: the run then ends, resumable, with the reason."""

from __future__ import annotations

from collections import Counter, deque

from curator_sdg.teacher.base import Failure, Outcome, Trouble

_WINDOW = 100
_AGAIN = "see to the endpoint and run the same command again"


class Circuit:
    """Looks at the latest requests that settled, and tells when too many of them had run out of retries.

    It judges a whole window only, so that a few failures at the start end nothing.

    Args:
        max_share: Failures among them that are still fine, 0 to 1 (``teacher.max_failure_share``).
        max_in_flight: As many requests may fail together; the window is twice as long, and at least 100.
    """

    def __init__(self, max_share: float, max_in_flight: int) -> None:
        self._max_share = max_share
        self._window: deque[Failure | None] = deque(maxlen=max(_WINDOW, 2 * max_in_flight))
        self._failures = 0

    def settled(self, outcome: Outcome) -> None:
        """Note an outcome."""
        window = self._window
        if len(window) == window.maxlen and window[0] is not None:
            self._failures -= 1
        failure = outcome if isinstance(outcome, Failure) else None
        window.append(failure)
        self._failures += failure is not None

    def broken(self) -> str | None:
        """Return why nothing more is to be asked; null while that is not so."""
        n = len(self._window)
        if n < (self._window.maxlen or 0) or self._failures <= self._max_share * n:
            return None
        failures = [failure for failure in self._window if failure is not None]
        [(reason, _)] = Counter(failure.reason for failure in failures).most_common(1)
        [(detail, _)] = Counter(failure.detail for failure in failures if failure.reason == reason).most_common(1)
        return (
            f"{self._failures:,} of the last {n:,} requests failed with all their retries, and "
            f"its max_failure_share is {self._max_share:g}; most often {reason}: {detail}; {_AGAIN}"
        )


class Patience:
    """Tells when no reply has come for too long; the clock starts at the first trouble since the last reply.

    Args:
        limit_s: How long is too long (``teacher.patience_s``).
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: float | None = None
        self._last = ""

    def troubled(self, trouble: Trouble, place: str, now: float) -> None:
        """Note a trouble at a place."""
        if self._since is None:
            self._since = now
        self._last = f"{trouble.reason}: {trouble.detail}" + (f" ({place})" if place else "")

    def replied(self) -> None:
        """Note a reply, whatever it says; or that for now nothing is wanted."""
        self._since = None

    @property
    def ends_at(self) -> float | None:
        """When it is over, by the clock of ``troubled``; null where the clock stands."""
        return None if self._since is None else self._since + self._limit_s

    def over(self, now: float) -> str | None:
        """Return why nothing more is to be asked; null while that is not so."""
        if self._since is None or now < self._since + self._limit_s:
            return None
        return f"no reply has come for {self._limit_s:g} s (its patience_s); the last trouble: {self._last}; {_AGAIN}"
