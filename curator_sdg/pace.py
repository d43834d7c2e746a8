"""How fast the teacher answers, and how long it will go on: arithmetic on the figures that it reports, and words.

Nothing here looks at a clock: every time is given, in seconds of any monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields

_WINDOW_S = 30.0  # what is shown as a rate is the mean over this long
_MEMORY_S = 180.0  # the time left is reckoned from a mean that fades this slowly: calm, yet it follows the teacher
_LEARN_S = 10.0  # no time left is named before this much has been seen
_STALE_S = 15.0  # figures come about once a second; after this long without any there is no teacher


@dataclass(frozen=True)
class Figures:
    """What a teacher process reports of itself.

    Attributes:
        queued: Requests that wait, now.
        in_flight: Requests that are being answered, now.
        asked: Requests sent since the process began, and so are all that follow.
        replies: Requests that were answered.
        failures: Requests that failed in transport.
        refusals: Requests that the teacher declined.
        prompt_tokens: Tokens read, those from a prefix cache included.
        cached_tokens: Tokens read that came from a prefix cache.
        completion_tokens: Tokens written.
        cost: The bill of the whole run so far, earlier starts included; null where a price is not known.
        journalled: Requests that a journal answered, so that they were not sent.
        waiting: Of those queued, how many were sent and are to be sent again.
        limit: How many may be in flight now; 0 where that is not known.
        endpoints: Servers that there are.
        resting: Of these, how many give no replies and are left alone for a while.
    """

    queued: int = 0
    in_flight: int = 0
    asked: int = 0
    replies: int = 0
    failures: int = 0
    refusals: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    journalled: int = 0
    waiting: int = 0
    limit: int = 0
    endpoints: int = 0
    resting: int = 0


class Teachers:
    """Adds up what several teachers report, as if they were one: they live in one process, and die with it."""

    def __init__(self) -> None:
        self._latest: dict[str, Figures] = {}

    def add(self, name: str, figures: Figures) -> Figures:
        """Take what one teacher reported, and return the figures of all together.

        The cost is the run's whole bill already, whoever tells it.
        """
        before = self._latest.get(name)
        if before is not None and _Totals.of(figures).fell(_Totals.of(before)):
            self._latest.clear()  # a new process: what the others said was of the old one
        self._latest[name] = figures
        names = [field.name for field in fields(Figures) if field.name != "cost"]
        totals = {name: sum(getattr(one, name) for one in self._latest.values()) for name in names}
        return Figures(**totals, cost=figures.cost)


@dataclass(frozen=True)
class Speed:
    """How the teacher does at one moment; ``requests`` (settled) and ``*_tokens`` are per second."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    in_flight: int = 0
    queued: int = 0
    failures: int = 0
    limit: int = 0
    waiting: int = 0
    endpoints: int = 0
    resting: int = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.in_flight or self.queued or self.requests)


@dataclass(frozen=True)
class _Totals:
    """What all teacher processes of this start did together."""

    asked: int = 0
    settled: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def of(cls, figures: Figures) -> _Totals:
        settled = figures.replies + figures.failures + figures.refusals
        return cls(figures.asked, settled, figures.failures, figures.prompt_tokens, figures.completion_tokens)

    def __add__(self, other: _Totals) -> _Totals:
        return _Totals(
            self.asked + other.asked,
            self.settled + other.settled,
            self.failures + other.failures,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def fell(self, before: _Totals) -> bool:
        """Whether a count is lower than it was, as only those of a new process can be."""
        return any(now < then for now, then in zip(vars(self).values(), vars(before).values(), strict=True))


class Pace:
    """Takes the teacher's figures as they come, and says how fast it is. Not thread-safe."""

    def __init__(self) -> None:
        self._figures: Figures | None = None  # the last ones
        self._gone = _Totals()  # of processes that are no more
        self._total = _Totals()
        self._at = -math.inf
        self._samples: deque[tuple[float, _Totals]] = deque()  # from the window's start on
        self._settled = self._busy_s = 0.0  # both fade; their ratio is the calm rate
        self._answering = False  # until the first reply, time passes without telling anything about the rate
        self._expected: float | None = None
        self._asked_then = 0

    @property
    def cost(self) -> float | None:
        """The bill so far; null where it is not known."""
        return self._figures.cost if self._figures else None

    def add(self, figures: Figures, now: float) -> None:
        """Take what the teacher reported at ``now``."""
        own, before = _Totals.of(figures), self._total
        if self._figures is not None and own.fell(_Totals.of(self._figures)):
            self._gone = before
        self._total = self._gone + own
        if now - self._at > _STALE_S:
            self._samples.clear()  # what happened meanwhile says nothing about now
        elif self._samples:
            was_idle = self._figures is None or not (self._figures.in_flight or self._figures.queued)
            self._learn(self._total.settled - before.settled, now - self._at, idle=was_idle)
        self._figures, self._at = figures, now
        self._samples.append((now, self._total))
        while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW_S:
            self._samples.popleft()

    def expect(self, requests: float) -> None:
        """Say how many requests of this run have not been asked yet; what is asked from here on counts it down."""
        self._expected, self._asked_then = requests, self._total.asked

    def speed(self, now: float) -> Speed | None:
        """Return how the teacher does; null where none has been heard of lately."""
        if self._figures is None or now - self._at > _STALE_S:
            return None
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        seconds = (end - start) or math.inf
        return Speed(
            (last.settled - first.settled) / seconds,
            (last.prompt_tokens - first.prompt_tokens) / seconds,
            (last.completion_tokens - first.completion_tokens) / seconds,
            self._figures.in_flight,
            self._figures.queued,
            self._total.failures,
            self._figures.limit,
            self._figures.waiting,
            self._figures.endpoints,
            self._figures.resting,
        )

    def left_s(self, now: float) -> float | None:
        """Return the seconds until everything expected has been asked; null where nothing can be said."""
        if self._expected is None or now - self._at > _STALE_S or self._busy_s < _LEARN_S or not self._settled:
            return None
        left = self._expected - (self._total.asked - self._asked_then)
        return left * self._busy_s / self._settled if left > 0 else None

    def _learn(self, settled: int, seconds: float, *, idle: bool) -> None:
        if not self._answering:
            self._answering = settled > 0
        elif settled or not idle:  # a pause between steps does not make the teacher slower
            keep = math.exp(-seconds / _MEMORY_S)
            self._settled = self._settled * keep + settled
            self._busy_s = self._busy_s * keep + seconds


def rate_text(rate: float) -> str:
    """Return a rate to two or three digits, for more would only flicker."""
    if rate < 10:
        return f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}" if rate else "0"
    return f"{round(rate, 3 - len(str(int(rate)))):,.0f}"


def about(seconds: float) -> str:
    """Return a length of time as people say it, for example ``about 3 h 20 min``."""
    if seconds < 60:
        return "less than a minute"
    if (minutes := round(seconds / 60)) < 60:
        return f"about {minutes} min"
    if (minutes := round(seconds / 600) * 10) < 600:
        hours, rest = divmod(minutes, 60)
        return f"about {hours} h {rest} min" if rest else f"about {hours} h"
    hours = round(seconds / 3600)
    return f"about {hours} h" if hours < 72 else f"about {round(hours / 24):,} days"


def clock_text(seconds: float) -> str:
    """Return a length of time as a clock shows it: ``h:mm:ss``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
