"""A plan from a pilot against what the run then takes; and the accounts of that run, part by part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.rows import TASKS, write_mirror
from tests.endpoint import Endpoint, running_endpoint
from tests.runs import ledger, package_digest, run, write_config

pytestmark = pytest.mark.slow

SEEDS, PILOT = 400, 60
FIGURES = ("requests", "prompt", "cached", "completion", "accepted", "cost")
PRICE = {"prompt": 1, "completion": 4, "cached": 0.1}


def config_of(folder: Path, data: Path, url: str, **sections: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    run_section = {"dir": str(folder / "run"), "shard_size": 64, "wave_size": 128}
    return write_config(
        folder,
        url,
        seeds={"tasks": list(TASKS), "data_root": str(data)},
        teacher={"price": PRICE, **sections.get("teacher", {})},
        enrich={"samples": 3},
        run={**run_section, **sections.get("run", {})},
    )


def plan(config: Path, *options: str) -> dict[str, Any]:
    done = run("plan", config, *options, "--json")
    assert done.returncode == 0, done.stderr
    planned: dict[str, Any] = json.loads(done.stdout)
    return planned


@dataclass(frozen=True)
class Story:
    """A run that was planned before, from a pilot and after it."""

    folder: Path
    config: Path
    endpoint: Endpoint
    before: dict[str, Any]
    told: str
    piloted: dict[str, Any]
    asked_by_pilot: int
    asked: int
    accounts: dict[str, Any]
    after: dict[str, Any]

    @property
    def run(self) -> Path:
        return self.folder / "run"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("planned")
    write_mirror(folder / "data", SEEDS)
    with running_endpoint(maker="tests.maker:project_reply", garbage=0.06, cut=0.04) as endpoint:
        config = config_of(folder, folder / "data", endpoint.url)
        before = plan(config)
        assert not (folder / "run").exists(), "a plan without a pilot leaves nothing behind"
        pilot = run("plan", config, "--pilot", PILOT, "--gpus", 2)
        assert pilot.returncode == 0, pilot.stderr
        asked_by_pilot = sum(endpoint.stats()["asked"].values())
        piloted = plan(config, "--tokens-per-second", "100", "--gpus", "4")
        assert "nothing is asked" in run("plan", config, "--pilot", PILOT - 20).stderr
        done = run("run", config)
        assert done.returncode == 0, done.stderr
        asked = sum(endpoint.stats()["asked"].values())
        accounts, after = ledger(folder / "run"), plan(config)
        yield Story(folder, config, endpoint, before, pilot.stdout, piloted, asked_by_pilot, asked, accounts, after)


def actual(story: Story) -> dict[str, float]:
    usage = story.accounts["usage"]
    return {
        "requests": usage["replies"],
        **{name: usage[f"{name}_tokens"] for name in ("prompt", "cached", "completion")},
        "accepted": usage["accepted"]["questions"],
        "cost": usage["cost"],
    }


def test_without_a_pilot_seeds_and_requests_are_told(story: Story) -> None:
    total = story.before["total"]
    assert total["seeds"]["estimate"] == 2_251 + 7_473 + 87_925, "from the catalogue, for nothing was read yet"
    assert [total[name] for name in FIGURES] == [None] * len(FIGURES)
    assert story.before["requests_at_most"] == {"generate": 97_649, "all": 4 * 97_649}
    assert story.before["piloted"] == 0


@pytest.mark.parametrize("figure", FIGURES)
def test_what_the_run_takes_lies_in_the_interval(story: Story, figure: str) -> None:
    one, true = story.piloted["total"][figure], actual(story)[figure]
    # Every change of a prompt draws other replies, of which one in ten would fall beside a 90 % interval.
    # Twice as wide, it is one in a thousand.
    half = (one["high"] - one["low"]) / 2
    assert one["estimate"] - 2 * half <= true <= one["estimate"] + 2 * half
    assert half < 0.25 * one["estimate"]
    assert story.piloted["piloted"] == PILOT
    assert story.piloted["total"]["seeds"]["estimate"] == SEEDS


def test_the_tasks_of_a_plan_add_up_to_the_whole(story: Story) -> None:
    for name in ("seeds", *FIGURES):
        tasks = [task[name]["estimate"] for task in story.piloted["tasks"]]
        assert len(tasks) == len(TASKS)
        assert sum(tasks) == pytest.approx(story.piloted["total"][name]["estimate"])


def test_the_run_goes_on_from_its_pilot(story: Story) -> None:
    assert story.piloted["goes_on_from_pilot"]
    assert story.piloted["spent"]["replies"] == story.asked_by_pilot
    assert story.asked == story.accounts["usage"]["replies"], "nothing is asked twice, nor by a smaller pilot again"


def test_of_a_run_that_is_done_everything_is_known(story: Story) -> None:
    for name in FIGURES:
        one = story.after["total"][name]
        assert one["low"] == pytest.approx(one["high"])
        assert one["estimate"] == pytest.approx(actual(story)[name])


def test_hours_follow_from_the_speed(story: Story) -> None:
    total = story.piloted["total"]
    assert total["hours"]["estimate"] == pytest.approx(total["completion"]["estimate"] / 100 / 3600)
    assert total["gpu_hours"]["high"] == pytest.approx(4 * total["completion"]["high"] / 100 / 3600)
    assert story.after["tokens_per_second"] > 0
    assert "GPU-hours" in story.told


def test_a_plan_reads_as_a_table_with_the_whole_below(story: Story) -> None:
    lines = story.told.splitlines()
    assert lines[0].split() == ["task", "seeds", "accepted", "completion", "GPU-hours", "cost"]
    assert {line.split()[0] for line in lines[2:5]} == set(TASKS)
    assert next(line for line in lines if line.startswith("all")).split()[1] == str(SEEDS)
    assert f"planned from {PILOT} seeds of {story.run}, with 90 % intervals" in story.told
    assert f"of this, the run has {story.asked_by_pilot} replies already, which cost 0." in story.told


def test_another_run_can_be_planned_from_this_one(story: Story, tmp_path: Path) -> None:
    config = config_of(tmp_path, story.folder / "data", story.endpoint.url, run={"limit": 100})
    planned = plan(config, "--from", str(story.run))
    assert not planned["goes_on_from_pilot"]
    assert planned["total"]["seeds"]["estimate"] == pytest.approx(100)
    share = planned["total"]["completion"]["estimate"] / actual(story)["completion"]
    assert share == pytest.approx(100 / SEEDS, rel=0.05)
    assert planned["spent"]["replies"] == 0


def test_a_pilot_with_other_settings_is_told_of(story: Story, tmp_path: Path) -> None:
    config = config_of(tmp_path, story.folder / "data", story.endpoint.url)
    done = run("plan", config, "--from", story.run, "--set", "enrich.samples=5", "--set", "teacher.price=null")
    assert "the pilot was another one, and may have other figures (enrich.samples is 5, was 3)" in done.stdout
    assert "the cost is not known: teacher.price is not set" in done.stdout


def test_the_gpus_of_all_teachers_count(story: Story) -> None:
    other = {"model": "test-model", "base_urls": [story.endpoint.url], "price": PRICE, "vllm": {"gpus": [2]}}
    two = ("--set", f"teachers.other={json.dumps(other)}", "--set", "enrich.teacher=other")
    planned = plan(story.config, "--set", "teacher.vllm.gpus=[0, 1]", *two, "--tokens-per-second", "100")
    assert planned["gpus"] == 3
    assert planned["total"]["gpu_hours"]["estimate"] == pytest.approx(3 * planned["total"]["hours"]["estimate"])


def test_a_number_of_questions_a_task_is_planned_with(story: Story, tmp_path: Path) -> None:
    config = config_of(tmp_path, story.folder / "data", story.endpoint.url, run={"accepted_per_task": 30})
    planned = plan(config, "--from", str(story.run))
    assert planned["total"]["accepted"]["estimate"] == 30 * len(TASKS)
    assert not planned["goes_on_from_pilot"], "another directory has its replies to pay for"
    done = run("run", config)
    assert done.returncode == 0, done.stderr
    taken = ledger(tmp_path / "run")["usage"]
    assert taken["accepted"]["questions"] == 30 * len(TASKS)
    for figure, true in (("requests", taken["replies"]), ("completion", taken["completion_tokens"])):
        one = planned["total"][figure]
        half = (one["high"] - one["low"]) / 2
        assert one["estimate"] - 2 * half <= true <= one["estimate"] + 2 * half
    assert taken["other"]["replies"] > 0, "accepted questions beyond the number are surplus"


def test_a_pilot_that_does_not_fit_is_refused(story: Story) -> None:
    both = run("plan", story.config, "--pilot", 5, "--from", story.run)
    assert both.returncode == 1
    assert "--pilot and --from: plan from a pilot of this run, or from another run" in both.stderr
    none = run("plan", story.config, "--from", story.folder / "data")
    assert none.returncode == 1
    assert "is no run directory" in none.stderr


def test_a_task_that_the_pilot_could_not_load_is_named_and_left_out(tmp_path: Path) -> None:
    write_mirror(tmp_path / "data", 90)
    (tmp_path / "data" / "google-research-datasets__nq_open" / "default" / "train.jsonl").unlink()
    with running_endpoint(maker="tests.maker:project_reply") as endpoint:
        config = config_of(tmp_path, tmp_path / "data", endpoint.url)
        assert run("plan", config, "--pilot", 20).returncode == 0
    planned = plan(config)
    assert [(task["task"], task["seeds"]["estimate"]) for task in planned["tasks"]] == [
        ("arc_easy", 30),
        ("gsm8k", 30),
    ]
    assert "tasks that the run could not load, which are left out, 1: nq_open" in planned["notes"]


# ---- the accounts


def test_the_bill_is_what_the_endpoint_has_counted(story: Story) -> None:
    usage = story.accounts["usage"]
    parts = [usage["accepted"], *usage["rejected"], usage["other"]]
    for name in ("replies", "prompt_tokens", "cached_tokens", "completion_tokens", "cost"):
        assert sum(part[name] for part in parts) == pytest.approx(usage[name]), name
        assert usage["other"][name] == pytest.approx(0), "every row is settled, and all of it stands on a row"
    rejected = {step["step"]: sum(step["rejected"].values()) for step in story.accounts["steps"]}
    for step in ("generate", "enrich"):
        rows = [row for row in usage["rejected"] if row["step"] == step]
        assert sum(row["rows"] for row in rows) == rejected[step] > 0
        assert all(row["completion_tokens"] > 0 for row in rows)


def by(run_dir: Path, column: str) -> list[dict[str, Any]]:
    done = run("ledger", run_dir, "--by", column, "--json")
    assert done.returncode == 0, done.stderr
    parts: list[dict[str, Any]] = json.loads(done.stdout)
    return parts


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("task", {"arc_easy", "gsm8k", "nq_open"}),
        ("family", {"arc", "gsm8k", "nq_open"}),
        ("group", {"knowledge", "reasoning"}),
        ("language", {"en"}),
    ],
)
def test_the_accounts_of_the_parts_add_up_to_those_of_the_run(story: Story, column: str, names: set[str]) -> None:
    *parts, every = by(story.run, column)
    assert {part["name"] for part in parts} == names
    usage = story.accounts["usage"]
    for name in ("seeds", "questions", "accepted"):
        assert sum(part[name] for part in parts) == every[name]
    assert (every["name"], every["seeds"], every["questions"]) == (None, SEEDS, SEEDS)
    assert every["accepted"] == usage["accepted"]["questions"]
    assert every["cost"] == pytest.approx(usage["cost"])
    for step in usage["steps"]:
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
            assert every["steps"][step["step"]][name] == step[name]
            assert sum(part["steps"][step["step"]][name] for part in parts) == step[name]


def test_the_accounts_read_as_a_table(story: Story) -> None:
    done = run("ledger", story.run, "--by", "task")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["task", "seeds", "accepted", "yield", "prompt", "completion", "cost", "each"]
    assert {line.split()[0] for line in lines[2:5]} == set(TASKS)
    wrong = run("ledger", story.run, "--by", "tasks")
    assert (wrong.returncode, wrong.stderr.strip()) == (
        1,
        "error: --by tasks: no such column; there are task, family, group, language",
    )


def test_the_package_says_what_each_question_took(story: Story) -> None:
    assert package_digest(story.run)
    examples = [json.loads(line) for line in (story.run / "package" / "answer.jsonl").read_text().splitlines()]
    questions = {row["question_id"]: row for row in examples}
    usage = story.accounts["usage"]["accepted"]
    spent = [row[f"{step}_tokens"] for row in questions.values() for step in ("generate", "enrich")]
    assert sum(tokens["completion"] for tokens in spent) == usage["completion_tokens"]
    assert sum(tokens["requests"] for tokens in spent) == usage["replies"]
