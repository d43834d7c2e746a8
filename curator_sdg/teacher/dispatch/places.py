"""The places where one teacher can be asked: which of them takes the next request, and which rests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from loguru import logger

from curator_sdg.teacher.base import Trouble
from curator_sdg.teacher.dispatch.limit import Limit

_IN_A_ROW = 5
_REST_MAX_S = 30.0
_TOLD_AFTER = 3  # rests in a row; shorter ones are nothing that a user could do something about


class Place:
    """One server: how much is in flight there, and whether it is well.

    After five troubles in a row it *rests*: nothing is sent there for as long as it asks for, or a time that doubles
    with each rest up to half a minute. Then one request, and no more, finds out whether it is back. Troubles of
    requests that were sent before a rest began tell nothing new, so they are not counted.

    Args:
        name: Its address, or what else a user knows it by.
        rest_s: Seconds of the first rest.
        cap: Requests in flight at once.
    """

    def __init__(self, name: str, rest_s: float, cap: int = 1) -> None:
        self.name = name
        self.limit = Limit(cap)
        self.in_flight = 0
        self.sent = 0
        self._rest_s = rest_s
        self._rests = 0  # in a row, without a reply in between
        self._rests_until: float | None = None  # null: it is well
        self._rested_at = 0  # requests sent when the last rest began
        self._probing = False
        self._troubles = 0  # in a row
        self._asks_for = 0.0  # seconds; the longest Retry-After of these

    @property
    def rests(self) -> bool:
        """Whether it rests, or is found out about."""
        return self._rests_until is not None

    def opens_at(self, now: float) -> float | None:
        """Return from when on it takes a request, ``now`` or later; null where it first has to answer one."""
        if self._rests_until is None:
            return now if self.in_flight < self.limit.now else None
        return None if self._probing else max(now, self._rests_until)

    def take(self) -> int:
        """Send it one more request, and return how many were sent before."""
        number = self.sent
        self.sent += 1
        self.in_flight += 1
        self._probing = self.rests
        self.limit.sent(self.in_flight)
        return number

    def settle(self, number: int, trouble: Trouble | None, now: float) -> None:
        """Note what became of a request.

        Args:
            number: What ``take`` returned.
            trouble: Null for an answer, whatever it says.
            now: In seconds, by any clock that only goes on.
        """
        self.in_flight -= 1
        self.limit.answered(number, self.sent, trouble)
        if trouble is None:
            self._replied(now)
        elif number >= self._rested_at:
            self._troubles += 1
            self._asks_for = max(self._asks_for, trouble.retry_after)
            if self.rests or self._troubles >= _IN_A_ROW:
                self.rest(trouble, now)

    def rest(self, trouble: Trouble, now: float) -> None:
        """Begin a rest."""
        pause = min(_REST_MAX_S, self._rest_s * 2 ** min(self._rests, 30))
        self._rests_until = now + max(pause, self._asks_for)
        self._rests += 1
        self._rested_at = self.sent
        self._probing = False
        self._troubles, self._asks_for = 0, 0.0
        if self._rests == _TOLD_AFTER:
            logger.warning(
                f"{self.name} does not answer ({trouble.reason}: {trouble.detail}); it is asked now and then until it "
                "does"
            )

    def _replied(self, now: float) -> None:
        # A reply to an older request, while it rests, does not say that it takes new ones.
        if self._rests_until is not None and now < self._rests_until:
            return
        if self._rests >= _TOLD_AFTER:
            logger.info(f"{self.name} answers again")
        self._rests, self._rests_until, self._probing = 0, None, False
        self._troubles, self._asks_for = 0, 0.0


class Places:
    """The places of one teacher, each with an equal share of the requests in flight.

    Args:
        total: Requests in flight at once, over all places.
        rest_s: Seconds for which a sick place rests the first time.
        changed: Called when a place has joined or left.

    Attributes:
        lack: Why there may be none.
        over: Why there is none and never will be again; else null.
    """

    def __init__(self, total: int, rest_s: float, changed: Callable[[], None] | None = None) -> None:
        self._total = total
        self._rest_s = rest_s
        self._changed = changed
        self._places: dict[str, Place] = {}
        self.lack = "there is no place where it could be asked"
        self.over: str | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Place]:
        return iter(list(self._places.values()))  # other threads ask for figures

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def limit(self) -> int:
        """How many requests may be in flight now, over all places that do not rest."""
        return min(self._total, sum(place.limit.now for place in self if not place.rests))

    @property
    def resting(self) -> int:
        """How many places rest."""
        return sum(place.rests for place in self)

    def add(self, name: str) -> Place:
        """Add a place, unless it is there, and return it."""
        if name not in self._places:
            self._places[name] = Place(name, self._rest_s)
            self._share()
        return self._places[name]

    def remove(self, name: str) -> None:
        """Send nothing more to a place; what is in flight there goes on."""
        if self._places.pop(name, None) is not None:
            self._share()

    def choose(self, now: float) -> Place | None:
        """Return the place with the least in flight relative to its limit; null where none takes a request now."""
        best, least = None, (math.inf, 0)
        for place in self._places.values():
            load = (place.in_flight / place.limit.now, place.sent)
            if load < least and place.opens_at(now) == now:
                best, least = place, load
        return best

    def opens_at(self, now: float) -> float | None:
        """Return from when on one of them takes a request; null where one first has to answer one."""
        return min((at for place in self if (at := place.opens_at(now)) is not None), default=None)

    def _share(self) -> None:
        share = max(1, math.ceil(self._total / max(1, len(self._places))))
        for place in self:
            place.limit.recap(share)
        if self._changed is not None:
            self._changed()
