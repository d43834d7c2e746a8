"""So many accepted questions of each task: what is asked about, what is packaged, and what is short."""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curator_sdg.errors import StoreError
from curator_sdg.quota import Packed, Quota, Standing, first_rows
from tests.benchmarks.rows import TASKS, write_mirror
from tests.endpoint import running_endpoint
from tests.runs import ledger, run, write_config

MAKER = "tests.maker:project_reply"


def quota(folder: Path, wanted: int = 100, per_seed: int = 1) -> Quota:
    return Quota(folder / "quota.json", wanted, per_seed)


def play(quota: Quota, seeds: int, share: float, draw: random.Random) -> list[int]:
    """Ask about a task's seeds round by round; return how many were asked about after each."""
    fates = [draw.random() < share for _ in range(seeds * quota.per_seed)]
    quota.begin({"task": seeds})
    asked = [quota.asked({"task": seeds})["task"]]
    while more := quota.go_on({"task": Standing(seeds, asked[-1], sum(fates[: asked[-1] * quota.per_seed]))}):
        asked.append(quota.asked({"task": seeds})["task"])
        assert more == {"task": asked[-1] - asked[-2]}
    return asked


@pytest.mark.parametrize("share", [0.9, 0.7, 0.4, 0.1])
@pytest.mark.parametrize("per_seed", [1, 3])
def test_a_task_gets_its_number_in_few_rounds_and_not_many_seeds_too_many(tmp_path, share, per_seed):
    rounds, spent = [], []
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        asked = play(quota(folder, 100, per_seed), 50_000, share, random.Random(number))
        rounds.append(len(asked))
        spent.append(asked[-1] * per_seed * share)
    assert max(rounds) <= 5
    assert 100 <= sum(spent) / len(spent) <= 145
    assert sum(rounds) / len(rounds) <= (2.0 if share >= 0.7 else 3.5)


def test_a_task_without_enough_seeds_is_asked_about_whole_and_no_further(tmp_path):
    assert play(quota(tmp_path), 50, 0.9, random.Random(1)) == [50]


def test_a_task_of_which_nothing_is_accepted_is_not_asked_about_whole_at_once(tmp_path):
    asked = play(quota(tmp_path, 10), 100_000, 0.0, random.Random(1))
    assert asked[-1] == 100_000
    assert all(later <= 4 * before for before, later in itertools.pairwise(asked))


def test_a_task_that_comes_later_begins_and_the_others_stay(tmp_path):
    first = quota(tmp_path, 10)
    first.begin({"a": 100})
    first.go_on({"a": Standing(100, first.asked({"a": 100})["a"], 5)})
    before = first.asked({"a": 100})
    first.begin({"a": 100, "b": 3})
    assert first.asked({"a": 100, "b": 3}) == {**before, "b": 3}
    assert first.asked({"a": 7}) == {"a": 7}, "its seeds became fewer"


def test_what_will_be_asked_is_known_before_it_is_written(tmp_path):
    seeds = {"a": 100, "b": 3}
    known = quota(tmp_path, 10).asked(seeds)
    assert not list(tmp_path.iterdir())
    quota(tmp_path, 10).begin(seeds)
    assert quota(tmp_path, 10).asked(seeds) == known


def test_a_number_lowered_between_rounds_pays_for_no_more_than_it_needs(tmp_path):
    seeds = {"task": 10_000}
    quota(tmp_path, 1_000).begin(seeds)
    fresh = quota(tmp_path / "other", 10).asked(seeds)
    assert quota(tmp_path, 10).asked(seeds) == fresh
    quota(tmp_path, 10).begin(seeds)
    assert quota(tmp_path, 1_000).asked(seeds) == fresh, "a higher one goes on from there"


def test_a_number_lowered_after_the_last_round_has_nothing_made_anew(tmp_path):
    seeds = {"task": 10_000}
    quota(tmp_path, 1_000).begin(seeds)
    asked = quota(tmp_path, 1_000).asked(seeds)
    assert not quota(tmp_path, 1_000).go_on({"task": Standing(10_000, asked["task"], 1_000)})
    assert quota(tmp_path, 10).asked(seeds) == asked


def test_rounds_begin_anew_for_other_questions(tmp_path):
    seeds = {"task": 10_000}
    path = tmp_path / "quota.json"
    assert play(Quota(path, 100, 1, "a prompt"), 10_000, 0.1, random.Random(1))[-1] > 900
    assert Quota(path, 100, 1, "another").asked(seeds) == quota(tmp_path / "other", 100).asked(seeds)


@pytest.mark.parametrize(
    "text", ['{"wanted": 1, "asked": {"a": "x"}}', "[]", '{"wanted": 1, "asked": {"a": -1}}', "{}", '{"asked": {}}']
)
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "quota.json").write_text(text)
    with pytest.raises(StoreError, match=r"quota\.json"):
        quota(tmp_path).asked({"a": 1})


def test_numbers_by_task_are_kept_small_and_come_back_as_they_were():
    shards = [{f"task-{n % 700}": n for n in range(start, start + 400)} for start in range(0, 4000, 100)]
    packed = list(map(Packed.of, shards))
    assert [one.unpacked() for one in packed] == shards
    assert all(sys.getsizeof(one.tasks) + sys.getsizeof(one.numbers) < 4_000 for one in packed)


def test_the_first_rows_of_each_task_are_taken_whatever_shards_they_are_in():
    shards = [{"a": 3, "b": 1}, {"a": 2}, {"a": 2, "b": 1}]
    assert list(first_rows(shards, {"a": 4, "b": 2})) == [{}, {"a": 1}, {"a": 0}]
    assert list(first_rows(shards, 1)) == [{"a": 1}, {"a": 0}, {"a": 0, "b": 0}]
    assert list(first_rows(shards, {"b": 9})) == [{"a": 0}, {"a": 0}, {"a": 0}]


# Whole runs


def questions(run_dir: Path) -> dict[str, list[str]]:
    """Return the questions of the package by task, in order."""
    found: dict[str, list[str]] = {}
    for line in (run_dir / "package" / "answer.jsonl").read_text().splitlines():
        example = json.loads(line)
        found.setdefault(example["task"], []).append(example["question_id"])
    return found


def step(accounts: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in accounts["steps"] if step["step"] == name)


def config_for(folder: Path, url: str, wanted: int | None, **sections: Any) -> Path:
    run_section = {"dir": str(folder / "run"), "shard_size": 16, "wave_size": 64, "accepted_per_task": wanted}
    seeds = {"tasks": [*TASKS, "openbookqa"], "data_root": str(folder / "mirror")}
    return write_config(folder, url, run=run_section, seeds=seeds, **sections)


@pytest.fixture
def mirror(tmp_path):
    """600 seeds of three tasks, and eight of a fourth."""
    write_mirror(tmp_path / "mirror", 600)
    file = tmp_path / "mirror" / "allenai__openbookqa" / "main" / "train.jsonl"
    file.parent.mkdir(parents=True)
    labels = ["A", "B", "C", "D"]
    rows = [
        {
            "id": str(n),
            "question_stem": f"What is the {n}th of these",
            "choices": {"text": [f"{label} {n}" for label in labels], "label": labels},
            "answerKey": "B",
        }
        for n in range(8)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.slow
def test_a_run_packages_exactly_so_many_of_each_task_and_says_what_is_short(mirror):
    with running_endpoint(maker=MAKER, garbage=0.2) as endpoint:
        config = config_for(mirror, endpoint.url, 30)
        done = run("run", config)
        asked = sum(endpoint.stats()["asked"].values())
        assert done.returncode == 0, done.stderr
        found = questions(mirror / "run")
        assert {task: len(found[task]) for task in TASKS} == dict.fromkeys(TASKS, 30)
        assert 0 < len(found["openbookqa"]) <= 8
        short = f"openbookqa: {len(found['openbookqa'])} of 30 accepted questions; all of its 8 seeds were asked about"
        assert short in " ".join(done.stderr.split())
        accounts = ledger(mirror / "run")
        assert accounts["balanced"]
        generate, package = step(accounts, "generate"), step(accounts, "package")
        assert generate["planned"] == 608
        assert generate["surplus"] > 300, "most seeds need not be asked about"
        assert package["surplus"] == 3 * (step(accounts, "curate")["out"] - sum(map(len, found.values())))
        assert accounts["short"] == {"openbookqa": {"accepted": len(found["openbookqa"]), "asked": 8, "seeds": 8}}

        again = run("run", config)
        assert again.returncode == 0, again.stderr
        assert sum(endpoint.stats()["asked"].values()) == asked
        assert questions(mirror / "run") == found

        more = run("run", config, "--set", "run.accepted_per_task=40")
        assert more.returncode == 0, more.stderr
        grown = questions(mirror / "run")
        assert {task: len(grown[task]) for task in TASKS} == dict.fromkeys(TASKS, 40)
        assert all(grown[task][:30] == found[task] for task in TASKS)
        assert "run.accepted_per_task is 40, was 30" in " ".join(more.stderr.split())
        assert "another round: " in more.stderr

        asked = sum(endpoint.stats()["asked"].values())
        fewer = run("run", config)
        assert fewer.returncode == 0, fewer.stderr
        assert questions(mirror / "run") == found
        assert "made anew: package" in " ".join(fewer.stderr.split()), "nothing but the package"
        assert sum(endpoint.stats()["asked"].values()) == asked
        assert max(endpoint.stats()["asked"].values()) == 1, "something was asked twice"


@pytest.mark.slow
def test_the_package_is_the_same_with_other_waves_and_workers(mirror):
    with running_endpoint(maker=MAKER, garbage=0.2) as endpoint:
        packaged = []
        for wave, workers in ((64, 2), (16, 1)):
            changes = {"run.dir": mirror / f"run-{wave}", "run.wave_size": wave, "cluster.workers": workers}
            options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
            done = run("run", config_for(mirror, endpoint.url, 20), *options)
            assert done.returncode == 0, done.stderr
            packaged.append(questions(mirror / f"run-{wave}"))
    assert packaged[0] == packaged[1]
    assert Counter(map(len, packaged[0].values()))[20] == 3


@pytest.mark.slow
def test_a_budget_that_ends_a_round_ends_the_run_and_a_higher_one_goes_on_with_it(mirror):
    with running_endpoint(maker=MAKER, garbage=0.2) as endpoint:
        config = config_for(mirror, endpoint.url, 30)
        first = run("run", config, "--set", "run.max_tokens=9000")
        assert first.returncode == 3, first.stderr
        begun = json.loads((mirror / "run" / "quota.json").read_text())
        done = run("run", config)
        assert done.returncode == 0, done.stderr
        assert max(endpoint.stats()["asked"].values()) == 1
    found = questions(mirror / "run")
    assert {task: len(found[task]) for task in TASKS} == dict.fromkeys(TASKS, 30)
    ended = json.loads((mirror / "run" / "quota.json").read_text())
    assert all(ended["asked"][task] >= n for task, n in begun["asked"].items())


@pytest.mark.slow
def test_other_prompts_and_fewer_wanted_pay_for_no_more_than_a_fresh_run(mirror):
    with running_endpoint(maker=MAKER, garbage=0.2) as endpoint:
        config = config_for(mirror, endpoint.url, 60)
        assert run("run", config).returncode == 0
        other = ["--set", "run.accepted_per_task=10", "--set", "generate.questions_per_seed=2"]
        changed = run("run", config, *other)
        assert changed.returncode == 0, changed.stderr
        fresh = run("run", config, *other, "--run-dir", mirror / "fresh")
        assert fresh.returncode == 0, fresh.stderr
    assert questions(mirror / "run") == questions(mirror / "fresh")
    one, two = ledger(mirror / "run"), ledger(mirror / "fresh")
    assert [step(one, name) for name in ("generate", "enrich")] == [step(two, name) for name in ("generate", "enrich")]


@pytest.mark.slow
def test_a_task_without_any_seed_is_short_too(mirror):
    file = mirror / "mirror" / "allenai__openbookqa" / "main" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**row, "answerKey": "Z"}) + "\n" for row in rows))
    with running_endpoint(maker=MAKER) as endpoint:
        done = run("run", config_for(mirror, endpoint.url, 5))
    assert done.returncode == 0, done.stderr
    assert "openbookqa: 0 of 5 accepted questions; it has no seeds" in " ".join(done.stderr.split())
    assert ledger(mirror / "run")["short"] == {"openbookqa": {"accepted": 0, "asked": 0, "seeds": 0}}
