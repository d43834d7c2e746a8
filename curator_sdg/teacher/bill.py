"""One bill for all dispatchers of a process that work on the same run, whatever teachers they ask."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from curator_sdg.errors import AskingEnded
from curator_sdg.teacher.base import Outcome
from curator_sdg.teacher.budget import Budget
from curator_sdg.teacher.journal.usage import Usage, cost_of, total


class Bill:
    """What a run has used over all starts, and whether it may use more; safe to use from any thread.

    While tokens or cost come close to the budget, what is in flight counts as if every reply were of its model's
    average size so far, over all starts. What is used beyond the budget is then about one reply. A model without a
    reply has no average: until its first one, what it has in flight counts for nothing.

    Args:
        budget: What may be used; null: anything.
        before: What earlier starts have used, by model.
    """

    def __init__(self, budget: Budget | None = None, before: Mapping[str, Usage] | None = None) -> None:
        self._budget = budget or Budget()
        self._lock = threading.Lock()
        self._used = dict(before or {})
        self._spent = total(self._used)
        self._in_flight: Counter[str] = Counter()
        self._wakers: list[Callable[[], None]] = []
        self._held_up = False  # somebody was told to wait
        self._ended: AskingEnded | None = None

    def sent(self, model: str) -> None:
        """Note that one more request to ``model`` is in flight."""
        with self._lock:
            self._in_flight[model] += 1

    def settled(self, model: str, outcomes: Sequence[Outcome]) -> None:
        """Note that a request that was in flight ended with these outcomes.

        Args:
            model: As for :meth:`sent`.
            outcomes: One for each sample it asked for; none where it was dropped.
        """
        used = sum(map(Usage.of, outcomes), Usage())
        with self._lock:
            self._in_flight[model] -= 1
            self._used[model] = self._used.get(model, Usage()) + used
            self._spent = self._spent + used
            wakers = list(self._wakers) if self._held_up or self._over() else []
            self._held_up = False
        for wake in wakers:
            wake()

    def reached(self, now: float) -> str | None:
        """Return why nothing more may be asked, in the user's terms; null while there is room.

        Args:
            now: Seconds since 1970.
        """
        if not self._budget.limited:
            return None
        with self._lock:
            return self._budget.reached(self._used, now)

    def nearly(self, now: float) -> bool:
        """Whether the budget would be reached, were everything in flight of average size: then wait for it.

        What is in flight may be another dispatcher's; see :meth:`listen`. With nothing in flight anywhere there is
        nothing to wait for.

        Args:
            now: Seconds since 1970.
        """
        if not self._budget.limited:
            return False
        with self._lock:
            in_flight = {model: count for model, count in self._in_flight.items() if count > 0}
            if not in_flight:
                return False
            forecast = {model: used.forecast(in_flight.get(model, 0)) for model, used in self._used.items()}
            self._held_up = self._budget.reached(forecast, now) is not None
            return self._held_up

    def end(self, why: AskingEnded) -> AskingEnded:
        """Have nothing more sent by anybody; returns why, which is what the first to end it said."""
        with self._lock:
            self._ended = self._ended or why
            wakers = list(self._wakers)
        for wake in wakers:
            wake()
        return self._ended

    @property
    def ended(self) -> AskingEnded | None:
        """Why nothing more is to be sent; null while it may."""
        return self._ended

    @property
    def over(self) -> bool:
        """Whether it is ended, and everything that was in flight anywhere has settled."""
        with self._lock:
            return self._over()

    def _over(self) -> bool:
        return self._ended is not None and not any(count > 0 for count in self._in_flight.values())

    def listen(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called when it is time to look again.

        That is when something settled after :meth:`nearly` said to wait, when :meth:`end` was called, and when all has
        settled after that.

        It is called in whatever thread settles, so it must be quick and safe there: ``loop.call_soon_threadsafe``.
        """
        with self._lock:
            self._wakers.append(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` no more; more often than once is fine."""
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)

    @property
    def spent(self) -> Usage:
        """What was used so far, over all models and starts."""
        with self._lock:
            return self._spent

    @property
    def cost(self) -> float | None:
        """What that costs; null as soon as a model that is asked has no price, or a reply came without counts."""
        with self._lock:
            asked = [model for model, count in self._in_flight.items() if count > 0]
            if any(self._budget.prices.get(model) is None for model in asked):
                return None
            return cost_of(self._used, self._budget.prices)
