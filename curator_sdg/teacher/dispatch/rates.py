"""Requests and tokens a minute: what a paid endpoint allows, kept evenly."""

from __future__ import annotations

from curator_sdg.config import TeacherSection

_ROUNDING = 1e-9


class Bucket:
    """A token bucket that fills by ``rate`` a second and holds what comes in one second, or ``least`` if that is more.

    Something larger than the bucket passes when it is full, and leaves a debt. See J. Turner, "New Directions in
    Communications", 1986, for the leaky bucket that this is the mirror of.

    Args:
        a_minute: What it lets through in a minute.
        least: What it holds at least.
    """

    def __init__(self, a_minute: float, least: float) -> None:
        self._rate = a_minute / 60
        self._size = max(self._rate, least)
        self._level = self._size
        self._at: float | None = None

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until so much may pass; 0: now."""
        self._fill(now)
        missing = min(amount, self._size) - self._level
        return missing / self._rate if missing > _ROUNDING else 0.0

    def take(self, amount: float, now: float) -> None:
        """Let so much pass; less than nothing gives back."""
        self._fill(now)
        self._level = min(self._size, self._level - amount)

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now


class Rates:
    """``teacher.requests_per_minute`` and ``teacher.tokens_per_minute`` together.

    Args:
        config: The ``teacher`` section.
    """

    def __init__(self, config: TeacherSection) -> None:
        self._requests = Bucket(config.requests_per_minute, 1) if config.requests_per_minute else None
        self._tokens = Bucket(config.tokens_per_minute, 0) if config.tokens_per_minute else None

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a request comes to."""
        return self._tokens is not None

    def wait(self, tokens: float, now: float) -> float:
        """Return the seconds until a request of so many tokens may be sent; 0: now.

        Args:
            tokens: Of its prompt and replies, by estimate.
            now: In seconds, by any clock that only goes on.
        """
        by_requests = self._requests.wait(1, now) if self._requests is not None else 0.0
        by_tokens = self._tokens.wait(tokens, now) if self._tokens is not None else 0.0
        return max(by_requests, by_tokens)

    def take(self, tokens: float, now: float) -> None:
        """Note that such a request is sent, for the first time or again."""
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def correct(self, estimated: float, used: float, now: float) -> None:
        """Note what a request came to that was estimated otherwise."""
        if self._tokens is not None:
            self._tokens.take(used - estimated, now)
