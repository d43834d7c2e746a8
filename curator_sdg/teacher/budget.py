"""How much a run may use: ``run.max_tokens``, ``run.max_cost`` and ``run.max_hours``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from curator_sdg.config import Price
from curator_sdg.teacher.journal.usage import Usage, cost_of, total

_RAISE = "raise it and run the same command again"


@dataclass(frozen=True)
class Budget:
    """Limits over all starts of a run, but for the time, which is this start's; null: without limit.

    Attributes:
        max_tokens: Prompt and completion tokens.
        max_cost: In the currency of ``prices``.
        ends_at: When nothing more is asked, in seconds since 1970.
        prices: Of a million tokens, by model; null where one is not known.
    """

    max_tokens: int | None = None
    max_cost: float | None = None
    ends_at: float | None = None
    prices: Mapping[str, Price | None] = field(default_factory=dict, hash=False)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(limit is not None for limit in (self.max_tokens, self.max_cost, self.ends_at))

    def reached(self, used: Mapping[str, Usage], now: float) -> str | None:
        """Return why nothing more may be asked, in the user's terms; null while there is room.

        A limit that cannot be kept, as what was used is not known, counts as reached.

        Args:
            used: What was used so far, over all starts, by model.
            now: Seconds since 1970.
        """
        usage = total(used)
        counted = {"run.max_tokens": self.max_tokens, "run.max_cost": self.max_cost}
        if usage.uncounted and (keys := " and ".join(key for key, limit in counted.items() if limit is not None)):
            return (
                f"{keys}: cannot be kept, for {usage.uncounted:,} of {usage.replies:,} replies came without token "
                "counts; set run.max_hours instead, or use an endpoint that counts, and run the same command again"
            )
        if self.max_tokens is not None and usage.tokens >= self.max_tokens:
            return f"run.max_tokens: {usage.tokens:,} tokens of {self.max_tokens:,} are used; {_RAISE}"
        if self.max_cost is not None:
            cost = cost_of(used, self.prices)
            if cost is None:
                unpriced = [model for model, one in used.items() if one.replies and self.prices.get(model) is None]
                return (
                    f"run.max_cost: cannot be kept, for it is not known what {' and '.join(map(repr, unpriced))} "
                    "cost; name the price of a teacher with that model, in teacher or teachers, and run the same "
                    "command again"
                )
            if cost >= self.max_cost:
                return f"run.max_cost: {_money(cost)} of {_money(self.max_cost)} are spent; {_RAISE}"
        if self.ends_at is not None and now >= self.ends_at:
            end = datetime.fromtimestamp(self.ends_at, UTC)
            return f"run.max_hours: the time of this start was over at {end:%Y-%m-%d %H:%M:%S} UTC; {_RAISE}"
        return None


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.3g}"
