"""The accounts by task where shards are of an older version, or the terminal is narrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from rich.console import Console

from curator_sdg.config import Config
from curator_sdg.current import Current
from curator_sdg.identity import stable_hash
from curator_sdg.ledger import Account
from curator_sdg.records import ANSWER, EXAMPLE, QUESTION, SEED, to_table
from curator_sdg.report.by import parts_of, parts_table
from curator_sdg.rundir import RunDir
from curator_sdg.store import publish_shard
from tests.records import answer, question, seed
from tests.runs import run, write_config

NAME = "000001-000000"
TOKENS = {"prompt": 40_000, "cached": 30_000, "completion": 2_000, "requests": 1}


def run_of(folder: Path, questions: pa.Table) -> Config:
    """Return a run with two seeds of different languages and what was written after them."""
    config = Config.model_validate(
        {
            "run": {"dir": str(folder)},
            "seeds": {"tasks": ["arc_easy"]},
            "teacher": {
                "model": "m",
                "base_urls": ["http://localhost:1/v1"],
                "price": {"prompt": 1, "completion": 10, "cached": 0.5},
            },
        }
    )
    at = RunDir(folder)
    prints = {step: step for step in ("collect", "seeds", "generate")}
    at.config.parent.mkdir(parents=True, exist_ok=True)
    at.config.write_text(yaml.safe_dump({**config.model_dump(mode="json"), "fingerprints": prints}))
    seeds = [seed(seed_id="a"), seed(seed_id="b", task="mgsm_de", language="de", family="mgsm")]
    collected = publish_shard(
        at.step("collect"), to_table(seeds, SEED), Account("arc_easy", planned=2), prints["collect"]
    )
    upstream = stable_hash([collected.content])
    at.cut.write_text('{"shards": 1, "order": ["arc_easy"]}')
    cut = publish_shard(
        at.step("seeds"), to_table(seeds, SEED), Account(NAME, planned=2, upstream=upstream), prints["seeds"]
    )
    account = Account(NAME, planned=2, upstream=stable_hash([cut.content]))
    account.reject(seeds[1], stage="s", reason="cut", tokens={"generate_tokens": TOKENS})
    publish_shard(at.step("generate"), questions, account, prints["generate"])
    return config


def told(parts: list[dict[str, Any]], by: str, width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(parts_table(parts, by, width=width))
    return capture.get().splitlines()


def test_rows_and_rejects_of_a_part_are_its_tokens(tmp_path: Path) -> None:
    config = run_of(tmp_path, to_table([question(seed_id="a", generate_tokens=TOKENS)], QUESTION))
    german, english, every = sorted(parts_of(config, "language"), key=lambda part: part["name"] or "z")
    assert [part["name"] for part in (german, english, every)] == ["de", "en", None]
    assert [part["questions"] for part in (german, english, every)] == [1, 1, 2]
    assert german["steps"]["generate"]["cached_tokens"] == 30_000
    assert german["cost"] == pytest.approx(0.01 + 0.015 + 0.02)
    assert every["cost"] == pytest.approx(2 * german["cost"])
    assert (every["accepted"], every["yield"], every["cost_per_accepted_question"]) == (0, None, None), (
        "nothing is through all checks, so nobody knows the yield"
    )


def test_a_wide_terminal_has_room_for_the_steps(tmp_path: Path) -> None:
    parts = parts_of(run_of(tmp_path, to_table([question(seed_id="a", generate_tokens=TOKENS)], QUESTION)), "task")
    assert told(parts, "task", 80)[0].split() == [
        "task",
        "seeds",
        "accepted",
        "yield",
        "prompt",
        "completion",
        "cost",
        "each",
    ]
    assert "cached" in told(parts, "task", 110)[0]
    wide = " ".join(told(parts, "task", 180))
    assert wide.count("generate") == wide.count("enrich") == 3


def test_a_shard_of_an_older_version_leaves_its_tokens_unknown(tmp_path: Path) -> None:
    old = to_table([question(seed_id="a")], QUESTION).drop_columns(["generate_tokens"])
    parts = parts_of(run_of(tmp_path, old), "task")
    assert [part["cost"] is None for part in parts] == [True, False, True]
    assert parts[-1]["steps"]["generate"]["uncounted"] == 1
    assert "of 1 replies no token counts are known" in " ".join(told(parts, "task", 80))


def test_before_the_package_what_passed_all_checks_is_accepted(tmp_path: Path) -> None:
    config = run_of(tmp_path, to_table([question(question_id="q", seed_id="a", generate_tokens=TOKENS)], QUESTION))
    at = RunDir(tmp_path)
    document = yaml.safe_load(at.config.read_text())
    document["fingerprints"] |= {step: step for step in ("dedup", "enrich", "curate", "package")}
    at.config.write_text(yaml.safe_dump(document))

    def publish(step: str, rows: pa.Table, planned: int, **more: int) -> None:
        upstream = Current(at, config, document["fingerprints"]).upstream(step, NAME) or ""
        publish_shard(at.step(step), rows, Account(NAME, planned=planned, upstream=upstream, **more), step)

    publish("dedup", to_table([], QUESTION), 0)
    answers = [answer(question_id="q", seed_id="a")]
    publish("enrich", to_table(answers, ANSWER), 1)
    assert parts_of(config, "task")[-1]["yield"] is None
    publish("curate", to_table(answers, ANSWER), 1)
    every = parts_of(config, "task")[-1]
    assert (every["accepted"], every["yield"]) == (1, 0.5), "the other seed's question was rejected"
    publish("package", to_table([], EXAMPLE), 3, surplus=3)
    every = parts_of(config, "task")[-1]
    assert (every["accepted"], every["yield"]) == (0, 0.5), "what is surplus has passed, too"


def test_a_run_that_has_read_nothing_is_not_done(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, "http://127.0.0.1:9/v1"
    )  # nobody listens there, so it ends before it reads anything
    assert run("run", config).returncode == 1
    assert run("ledger", tmp_path / "run").returncode == 3, "nor has every row been settled"
