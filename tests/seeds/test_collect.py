import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_sdg.errors import ConfigError, SourceError
from curator_sdg.ledger import Counts
from curator_sdg.records import SEED
from curator_sdg.seeds import collect_task
from tests.seeds.mirror import ROWS, write


def rows_of(n: int) -> list[dict]:
    return [{**ROWS["gsm8k"], "question": f"How much is {i} plus {i}?", "answer": f"#### {2 * i}"} for i in range(n)]


def test_every_row_is_a_seed_or_a_reject(tmp_path: Path) -> None:
    good, other = rows_of(2)
    write(tmp_path, "gsm8k", [good, "not json", good, {"question": "?"}, other, "not json"])
    found = collect_task("gsm8k", data_root=tmp_path)
    counts = Counts.of(found.account, found.table.num_rows)
    assert counts.balanced
    assert (counts.planned, counts.out) == (6, 2)
    assert counts.rejected == Counter(not_json=1, duplicate=2, missing_column=1)
    assert found.account.shard == "gsm8k"
    assert found.table.schema == SEED


def test_a_reject_carries_its_row_whole(tmp_path: Path) -> None:
    row = {**ROWS["gsm8k"], "answer": "näh"}
    write(tmp_path, "gsm8k", [row])
    [reject] = collect_task("gsm8k", data_root=tmp_path).account.rejects
    assert json.loads(reject["raw"]) == row
    assert reject["task"] == "gsm8k"
    assert reject["stage"] == "collect_seeds"
    assert reject["record_id"]
    assert reject["detail"]


def test_a_rationale_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, "gsm8k", rows_of(1))
    assert collect_task("gsm8k", data_root=tmp_path).table["rationale"].to_pylist() == [None]


def test_of_equal_rows_the_first_is_kept(tmp_path: Path) -> None:
    first, second = rows_of(2)
    shuffled_keys = dict(reversed(first.items()))
    write(tmp_path, "gsm8k", [second, first, shuffled_keys])
    found = collect_task("gsm8k", data_root=tmp_path)
    assert sorted(row["row"] for row in found.table["source"].to_pylist()) == [0, 1]
    assert [reject["reason"] for reject in found.account.rejects] == ["duplicate"]


def test_text_that_utf8_cannot_write_costs_its_row_only(tmp_path: Path) -> None:
    good, bad = rows_of(2)
    write(tmp_path, "gsm8k", [good, json.dumps({**bad, "question": "\ud800 ?"})])
    found = collect_task("gsm8k", data_root=tmp_path)
    assert found.table.num_rows == 1
    [reject] = found.account.rejects
    assert reject["reason"] == "invalid_text"
    assert "\\ud800" in reject["raw"]


def test_seeds_do_not_depend_on_file_order_or_format(tmp_path: Path) -> None:
    rows = rows_of(50)
    file = write(tmp_path, "gsm8k", rows)
    before = collect_task("gsm8k", data_root=tmp_path).table.drop_columns("source")
    assert before["seed_id"].to_pylist() == sorted(before["seed_id"].to_pylist())
    file.unlink()
    random.Random(1).shuffle(rows)
    pq.write_table(pa.Table.from_pylist(rows), file.with_suffix(".parquet"))
    assert collect_task("gsm8k", data_root=tmp_path).table.drop_columns("source") == before


def test_a_sample_does_not_depend_on_file_order(tmp_path: Path) -> None:
    rows = rows_of(200)
    write(tmp_path, "gsm8k", rows)
    first = collect_task("gsm8k", data_root=tmp_path, limit=20, seed=3)
    random.Random(2).shuffle(rows)
    write(tmp_path, "gsm8k", rows)
    again = collect_task("gsm8k", data_root=tmp_path, limit=20, seed=3)
    assert first.account.planned == 20
    assert first.table["seed_id"] == again.table["seed_id"]
    other = collect_task("gsm8k", data_root=tmp_path, limit=20, seed=4)
    assert set(other.table["seed_id"].to_pylist()) != set(first.table["seed_id"].to_pylist())


def test_a_larger_sample_holds_the_smaller_one(tmp_path: Path) -> None:
    write(tmp_path, "gsm8k", rows_of(100))
    small, large = (collect_task("gsm8k", data_root=tmp_path, limit=n).table["seed_id"].to_pylist() for n in (10, 30))
    assert set(small) < set(large)


def test_a_limit_above_the_rows_takes_them_all(tmp_path: Path) -> None:
    write(tmp_path, "gsm8k", rows_of(3))
    assert collect_task("gsm8k", data_root=tmp_path, limit=10).account.planned == 3


def test_an_empty_file_gives_an_empty_table_of_the_schema(tmp_path: Path) -> None:
    write(tmp_path, "gsm8k", [])
    found = collect_task("gsm8k", data_root=tmp_path)
    assert (found.table.num_rows, found.account.planned) == (0, 0)
    assert found.table.schema == SEED


def test_unknown_tasks_and_missing_data_are_the_users_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        collect_task("gsm9k", data_root=tmp_path)
    with pytest.raises(SourceError):
        collect_task("gsm8k", data_root=tmp_path)
