"""The bill of a run: what its journal comes to, and how that divides into accepted questions, rejects and the rest.

An accepted question is one that is in the package, in whatever variants, or, while its shard is not packaged yet, one
that passed all checks; its tokens are those of all requests that were made for it, the votes included that are not
packaged. The rest is what belongs to neither: rows that are pending or surplus, replies that were set aside or belong
to earlier settings, retries that were paid for twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from curator_sdg.config import ASKING, Asking, Config, Price
from curator_sdg.spent import Rows, ShardSpent, Spent, add_rows, one_a_question
from curator_sdg.store import Shard, read_columns
from curator_sdg.teacher.journal.usage import Usage, add_up, cost_of, total


@dataclass(frozen=True)
class Tariff:
    """Which model each step asks, and what it costs.

    Attributes:
        models: By step.
        prices: By model; null where one is not known.
    """

    models: Mapping[Asking, str]
    prices: Mapping[str, Price | None]

    @classmethod
    def of(cls, config: Config) -> Tariff:
        """Return what a configuration says."""
        return cls({step: config.teacher_of(step).model for step in ASKING}, config.prices)

    def cost(self, rows: Rows) -> float | None:
        """Return what some rows cost; null where a price or a count is not known."""
        return cost_of(add_up({self.models[step]: usage_of(spent)} for step, spent in rows.steps.items()), self.prices)


def usage_of(spent: Spent) -> Usage:
    """Return what rows have used, as the journal counts it."""
    return Usage(spent.requests, 0, spent.prompt, spent.cached, spent.completion, spent.uncounted)


def bill(
    journal: Mapping[str, Mapping[str, Usage]],
    steps: Mapping[str, Mapping[str, ShardSpent]],
    tariff: Tariff,
) -> dict[str, Any]:
    """Return the bill as plain data.

    ``accepted``, ``rejected`` and ``other`` add up to the whole, figure by figure. A cost is null as soon as a price
    or a count of it is not known.

    Args:
        journal: What everything in the journal has used, by step and model.
        steps: What the rows and rejects of current shards have cost, by step and shard.
        tariff: Models and prices.
    """
    by_model = add_up(journal.values())
    whole, cost = total(by_model), cost_of(by_model, tariff.prices)
    accepted = add_rows(shard.out for shard in {**steps.get("curate", {}), **steps.get("package", {})}.values())
    rejected = {
        (step, reason): rows
        for step, shards in steps.items()
        for reason, rows in _by_reason(shards).items()
        if any(rows.steps.values())
    }
    lost = add_rows(rejected.values())
    costs = {"accepted": tariff.cost(accepted), "rejected": tariff.cost(lost)}
    rest = _minus(whole, _summed(accepted.plus(lost)))
    return {
        **_figures(whole, cost),
        "steps": [
            {"step": step, "model": model, **_figures(used, cost_of({model: used}, tariff.prices))}
            for step, models in sorted(journal.items(), key=_in_flow)
            for model, used in models.items()
        ],
        "accepted": {"questions": accepted.rows, **_figures(_summed(accepted), costs["accepted"])},
        "rejected": [
            {"step": step, "reason": reason, "rows": rows.rows, **_figures(_summed(rows), tariff.cost(rows))}
            for (step, reason), rows in rejected.items()
        ],
        "other": _figures(rest, _less(cost, *costs.values())),
        "cost_per_accepted_question": _per(cost, accepted.rows),
        "cost_per_million_accepted_tokens": _per(cost, _summed(accepted).completion_tokens / 1e6),
    }


def spent_of(shard: Shard) -> ShardSpent:
    """Return what a shard's rows and rejects have cost; one of an older version does not tell, so nobody knows."""
    if shard.spent is not None:
        return shard.spent
    out = one_a_question(read_columns(shard.path, ["question_id"])).num_rows
    return ShardSpent(_unknown(out), {reason: _unknown(n) for reason, n in shard.counts.rejected.items()})


def _unknown(rows: int) -> Rows:
    return Rows(rows, {"generate": Spent(requests=rows, uncounted=rows)})


def _in_flow(item: tuple[str, Any]) -> int:
    return len(ASKING) if item[0] not in ASKING else [*ASKING].index(item[0])


def _by_reason(shards: Mapping[str, ShardSpent]) -> dict[str, Rows]:
    reasons: dict[str, Rows] = {}
    for shard in shards.values():
        for reason, rows in shard.rejected.items():
            reasons[reason] = reasons.get(reason, Rows()).plus(rows)
    return reasons


def _summed(rows: Rows) -> Usage:
    return sum(map(usage_of, rows.steps.values()), Usage())


def _minus(whole: Usage, part: Usage) -> Usage:
    return Usage(**{name: count - getattr(part, name) for name, count in asdict(whole).items()})


def _less(cost: float | None, *parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    # A millionth of a millionth is what adding up in another order comes to.
    return None if cost is None or len(known) < len(parts) else round(cost - sum(known), 12) + 0.0


def _per(cost: float | None, count: float) -> float | None:
    return cost / count if cost is not None and count else None


def _figures(used: Usage, cost: float | None) -> dict[str, Any]:
    return {**asdict(used), "cost": cost}
