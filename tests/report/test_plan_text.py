"""What a plan says in words, whatever it was made from."""

from __future__ import annotations

from typing import Any

import pytest

from curator_sdg.planning.estimate import Interval
from curator_sdg.planning.pilot import Pilot
from curator_sdg.planning.plan import Plan
from curator_sdg.planning.speed import Speed
from curator_sdg.report.plan import plan_text

SPENT = {"replies": 69, "prompt": 49_200, "cached": 0, "completion": 4_781, "cost": 0.205}


def plan_of(**known: Any) -> Plan:
    seeds = {"a": Interval(100, 100, 100)}
    return Plan(seeds, (100, 600), Pilot(), "runs/first", spent={**SPENT, "replies": 0}, **known)


def test_what_was_paid_is_told_though_no_shard_of_the_pilot_is_through() -> None:
    plan = plan_of()
    plan.spent = SPENT
    assert "of this, the run has 69 replies already, which cost 0.205" in plan_text(plan)
    plan.spent = {**SPENT, "cost": None}
    assert plan_text(plan).endswith("69 replies already"), "a cost that is not known is none"


def test_an_interval_too_narrow_to_be_seen_is_not_told() -> None:
    text = plan_text(plan_of(whole={"requests": Interval(4_620_000, 4_619_500, 4_620_500)}))
    assert "  4.62M requests\n" in text + "\n"
    assert "(4.60M to 4.64M)" in plan_text(plan_of(whole={"requests": Interval(4_620_000, 4_600_000, 4_640_000)}))


@pytest.mark.parametrize(
    ("tokens", "told"), [(300, "3 s"), (90_000, "15 min"), (1e6, "2.78 hours"), (1e9, "2,777.78 hours")]
)
def test_times_are_told_in_the_unit_that_fits(tokens: float, told: str) -> None:
    plan = plan_of(whole={"completion": Interval(tokens, tokens, tokens)}, speed=Speed(100, 0))
    assert f"  {told} at 100 completion tokens a second" in plan_text(plan)
