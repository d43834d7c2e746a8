"""The bill: what accepted questions, rejects and the rest cost adds up to what the journal has used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curator_sdg.config import Price
from curator_sdg.costs import Tariff, bill, spent_of
from curator_sdg.ledger import Account
from curator_sdg.records import ANSWER, to_table
from curator_sdg.report.tables import usage_text
from curator_sdg.spent import Rows, ShardSpent, Spent
from curator_sdg.store import publish_shard
from curator_sdg.teacher import Usage
from tests.records import answer

MODELS = {"generate": "large", "enrich": "small"}
PRICES = {"large": Price(prompt=2, completion=10, cached=1), "small": Price(prompt=1, completion=1)}
JOURNAL = {
    "enrich": {"small": Usage(50, 0, 5_000_000, 0, 1_000_000)},
    "generate": {"large": Usage(20, 1, 2_000_000, 1_000_000, 400_000), "gone": Usage(refusals=2)},
}
KEPT = Rows(5, {"generate": Spent(5, 500_000, 250_000, 100_000), "enrich": Spent(25, 2_500_000, 0, 500_000)})
CUT = Rows(4, {"generate": Spent(4, 400_000, 200_000, 80_000)})
TIE = Rows(3, {"generate": Spent(3, 300_000, 150_000, 60_000), "enrich": Spent(15, 1_500_000, 0, 300_000)})
STEPS = {
    "generate": {"a": ShardSpent(Rows(16), {"cut": CUT, "no_prompt": Rows(7)})},
    "enrich": {"a": ShardSpent(KEPT.plus(KEPT), {"tie": TIE}), "b": ShardSpent()},
    "package": {"a": ShardSpent(KEPT)},
}
FIGURES = ("replies", "refusals", "prompt_tokens", "cached_tokens", "completion_tokens", "uncounted")


def the_bill(prices: Any = PRICES, journal: Any = JOURNAL, steps: Any = STEPS) -> dict[str, Any]:
    return bill(journal, steps, Tariff(MODELS, prices))


def test_the_parts_add_up_figure_by_figure() -> None:
    found = the_bill()
    parts = [found["accepted"], *found["rejected"], found["other"]]
    for name in FIGURES:
        assert sum(part[name] for part in parts) == found[name], name
        assert sum(step[name] for step in found["steps"]) == found[name], name
    assert sum(part["cost"] for part in parts) == pytest.approx(found["cost"])
    assert found["cost"] == pytest.approx(2 + 1 + 4 + 6)
    assert [step["step"] for step in found["steps"]] == ["generate", "generate", "enrich"]
    assert [(row["step"], row["reason"], row["rows"]) for row in found["rejected"]] == [
        ("generate", "cut", 4),
        ("enrich", "tie", 3),
    ]
    assert found["rejected"][0]["cost"] == pytest.approx(0.2 * 2 + 0.2 * 1 + 0.08 * 10)
    assert found["accepted"]["questions"] == 5
    assert found["cost_per_accepted_question"] == pytest.approx(13 / 5)
    assert found["cost_per_million_accepted_tokens"] == pytest.approx(13 / 0.6)


def test_one_price_that_is_not_known_leaves_what_needs_it_unknown() -> None:
    found = the_bill({**PRICES, "small": None})
    assert found["cost"] is found["other"]["cost"] is found["accepted"]["cost"] is None
    assert found["cost_per_accepted_question"] is None
    assert [row["cost"] is None for row in found["rejected"]] == [False, True]


def test_a_model_of_earlier_settings_without_a_price_leaves_the_rest_unknown_alone() -> None:
    journal = {**JOURNAL, "enrich": {**JOURNAL["enrich"], "earlier": Usage(1, 0, 10, 0, 10)}}
    found = the_bill(journal=journal)
    assert found["cost"] is found["other"]["cost"] is None
    assert found["accepted"]["cost"] == pytest.approx(0.25 * 2 + 0.25 + 1 + 3)
    assert found["other"]["prompt_tokens"] == the_bill()["other"]["prompt_tokens"] + 10


def test_replies_without_counts_leave_the_cost_unknown() -> None:
    uncounted = Rows(1, {"generate": Spent(1, 0, 0, 0, 1)})
    steps = {**STEPS, "package": {"a": ShardSpent(KEPT.plus(uncounted))}}
    journal = {**JOURNAL, "generate": {"large": Usage(20, 0, 1, 1, 1, uncounted=1)}}
    found = the_bill(journal=journal, steps=steps)
    assert found["cost"] is found["accepted"]["cost"] is None
    assert "1 of them without token counts" in usage_text(found)


def test_nothing_asked_costs_nothing() -> None:
    found = the_bill(journal={}, steps={})
    assert (found["cost"], found["cost_per_accepted_question"], found["rejected"]) == (0, None, [])


def test_a_shard_of_old_costs_nobody_knows_what(tmp_path: Path) -> None:
    account = Account("shard", planned=5)
    for reason in ("cut", "cut", "tie"):
        account.reject(answer(), stage="s", reason=reason)
    published = publish_shard(tmp_path, to_table([answer(question_id=name) for name in "ab"], ANSWER), account, "f")
    old = spent_of(replace(published, spent=None))
    found = the_bill(steps={"enrich": {"a": old}, "package": {"a": old}})
    assert found["accepted"]["questions"] == 2
    assert found["accepted"]["cost"] is found["other"]["cost"] is None
    assert [(row["reason"], row["rows"], row["cost"]) for row in found["rejected"][:2]] == [
        ("cut", 2, None),
        ("tie", 1, None),
    ]
    assert usage_text(found).endswith("what rejects took is not known")


def test_the_summary_has_one_line_for_tokens_and_one_for_money() -> None:
    assert usage_text(the_bill()) == (
        "70 replies, 7,000,000 prompt (14% cached) and 1,400,000 completion tokens\n"
        "13.00 in all, 2.60 an accepted question, 21.67 a million accepted tokens; "
        "rejects cost 4.25 (generate 1.40, enrich 2.85); what is pending, surplus or of earlier settings cost 4.00"
    )


def test_what_is_not_packaged_yet_is_accepted_once_it_passed_all_checks() -> None:
    shards = {"a": ShardSpent(KEPT.plus(KEPT)), "b": ShardSpent(KEPT)}
    both = the_bill(steps={**STEPS, "curate": shards})
    assert both["accepted"]["questions"] == 10, "five in the package, five whose shard is not packaged"
    before = the_bill(steps={**STEPS, "curate": shards, "package": {}})
    assert before["accepted"]["questions"] == 15
    assert before["cost_per_accepted_question"] == pytest.approx(13 / 15)
    for found in (both, before):
        parts = [found["accepted"], *found["rejected"], found["other"]]
        assert sum(part["cost"] for part in parts) == pytest.approx(found["cost"])


def test_where_nothing_is_left_the_rest_costs_nothing_to_the_last_digit() -> None:
    tenth = Rows(1, {"generate": Spent(1, 100_000)})
    journal = {"generate": {"large": Usage(3, 0, 300_000)}}
    steps = {"generate": {"a": ShardSpent(Rows(), {"cut": tenth, "tie": tenth})}, "package": {"a": ShardSpent(tenth)}}
    found = the_bill({"large": Price(prompt=1, completion=1)}, journal, steps)
    assert str(found["other"]["cost"]) == "0.0"


def test_the_model_without_a_price_is_named() -> None:
    text = usage_text(the_bill({**PRICES, "small": None}))
    assert text.endswith("the cost is not known, for no price is set for small")


def test_without_a_price_the_summary_has_tokens_only() -> None:
    rejects, rest = usage_text(the_bill({})).splitlines()[1].split("; ")
    assert rejects == "completion tokens of rejects: 440,000 (generate 80,000, enrich 360,000)"
    assert rest == "what is pending, surplus or of earlier settings took 360,000"
    assert usage_text(the_bill({**PRICES, "gone": None}, journal={}, steps={})) == (
        "0 replies, 0 prompt and 0 completion tokens\n0 in all"
    )
