"""Tokens are summed from the columns of rows and rejects."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from nemo_curator.tasks import DocumentBatch

from curator_sdg.config import PackageSection
from curator_sdg.ledger import Account
from curator_sdg.packaging.render import RenderExamples
from curator_sdg.records import ANSWER, CURATED, EXAMPLE, QUESTION, REJECT, to_table
from curator_sdg.spent import Rows, ShardSpent, Spent, add_rows, one_a_question, sum_tokens
from curator_sdg.store import REJECTS, publish_shard, read_columns, read_rows, read_shard
from tests.records import answer, question, seed, trace


def tokens(
    prompt: int | None, completion: int | None, requests: int = 1, cached: int | None = None
) -> dict[str, int | None]:
    return {"prompt": prompt, "cached": cached, "completion": completion, "requests": requests}


def test_tokens_are_summed_by_the_values_of_columns() -> None:
    rows = [
        question(task="a", generate_tokens=tokens(10, 3, cached=4)),
        question(task="a", generate_tokens=tokens(20, 5, requests=2)),
        question(task="b", generate_tokens=tokens(1, 1)),
        question(task="b", generate_tokens=None),
    ]
    table = to_table(rows, QUESTION)
    a, b = Rows(2, {"generate": Spent(3, 30, 4, 8)}), Rows(2, {"generate": Spent(1, 1, 0, 1)})
    assert sum_tokens(table, ["task"]) == {("a",): a, ("b",): b}
    assert sum_tokens(table, []) == {(): a.plus(b)}
    assert sum_tokens(table.slice(0, 0), []) == sum_tokens(table.slice(0, 0), ["task"]) == {}
    assert add_rows([]) == Rows()


@pytest.mark.parametrize("unknown", [tokens(None, 5, 3), tokens(5, None, 3)])
def test_rows_whose_counts_are_not_known_are_counted_as_such(unknown: dict[str, int | None]) -> None:
    table = to_table([question(generate_tokens=unknown), question(generate_tokens=tokens(1, 1))], QUESTION)
    spent = sum_tokens(table, [])[()].at("generate")
    assert (spent.requests, spent.uncounted) == (4, 3)


def test_examples_of_one_question_are_one_row() -> None:
    ids = pa.table({"question_id": ["b", "a", "b", "a", "c"], "at": range(5)})
    assert one_a_question(ids)["at"].to_pylist() == [0, 1, 4]


def test_a_reject_carries_what_was_spent_on_its_row_in_this_step_and_before() -> None:
    account = Account("shard", planned=3)
    account.reject(seed(), stage="s", reason="cut", tokens={"generate_tokens": tokens(7, 2)})
    account.reject(question(generate_tokens=tokens(10, 3)), stage="s", reason="duplicate")
    account.reject(
        question(generate_tokens=tokens(10, 3)), stage="s", reason="tie", tokens={"enrich_tokens": tokens(50, 9, 5)}
    )
    account.reject(seed(), stage="s", reason="no_prompt")
    spent = ShardSpent.of(QUESTION.empty_table(), to_table(account.rejects, REJECT))
    assert spent.rejected == {
        "cut": Rows(1, {"generate": Spent(1, 7, 0, 2)}),
        "duplicate": Rows(1, {"generate": Spent(1, 10, 0, 3)}),
        "tie": Rows(1, {"generate": Spent(1, 10, 0, 3), "enrich": Spent(5, 50, 0, 9)}),
        "no_prompt": Rows(1),
    }


def test_a_shard_keeps_its_sums_in_its_footer(tmp_path: Path) -> None:
    account = Account("000001-000000", planned=3)
    account.reject(question(), stage="s", reason="tie", tokens={"enrich_tokens": tokens(50, 9, 5)})
    rows = to_table([answer(question_id="a"), answer(question_id="b")], ANSWER)
    published = publish_shard(tmp_path / "answers", rows, account, "f")
    found = read_shard(published.path)
    assert found is not None
    assert found.spent == published.spent
    assert found.spent is not None
    assert found.spent.out == Rows(2, {"generate": Spent(2, 2, 0, 2), "enrich": Spent(10, 10, 0, 10)})
    assert found.spent.rejected == {"tie": Rows(1, {"generate": Spent(1, 1, 0, 1), "enrich": Spent(5, 50, 0, 9)})}
    assert len(json.dumps(found.spent.to_json())) < 300, "20,000 footers are read at every start"
    [reject] = read_rows(found.path, REJECTS).to_pylist()
    assert reject["enrich_tokens"] == tokens(50, 9, 5)


def test_columns_that_a_shard_of_old_lacks_are_left_out(tmp_path: Path) -> None:
    account = Account("shard", planned=1)
    rows = to_table([question()], QUESTION).drop_columns(["generate_tokens"])
    published = publish_shard(tmp_path / "questions", rows, account, "f")
    table = read_columns(published.path, ["task", "generate_tokens"])
    assert table.column_names == ["task"]
    assert sum_tokens(table, ["task"]) == {("arc_easy",): Rows(1)}


@pytest.mark.parametrize("lost", [False, True])
def test_a_variant_that_is_lost_is_paid_for_only_where_its_question_is(lost: bool) -> None:
    variants = ("reasoning", "context") if lost else ("reasoning", "answer", "context")
    record = answer(traces=[])
    batch = DocumentBatch(
        dataset_name="d",
        data=to_table([record, answer(question_id="q2", traces=[trace(), trace("knowledge")])], CURATED),
    )
    account = Account("shard", planned=2 * len(variants))
    batch._metadata["curator_sdg"] = account
    made = RenderExamples(PackageSection(variants=variants)).process(batch)
    spent = ShardSpent.of(made.to_pyarrow(), to_table(account.rejects, REJECT))
    one = {"generate": Spent(1, 1, 0, 1), "enrich": Spent(5, 5, 0, 5)}
    assert made.to_pyarrow().schema.equals(EXAMPLE)
    assert spent.rejected == {"no_trace": Rows(2, one if lost else {})}
    assert spent.out == (Rows(1, one) if lost else Rows(2, {step: part.plus(part) for step, part in one.items()}))
