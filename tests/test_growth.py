"""A run that goes on, grows, changes its mind or runs out of money: nothing paid for is asked again."""

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from curator_sdg.teacher.journal.segment import read_segment
from tests.endpoint import running_endpoint
from tests.runs import TASKS, alive, children, ledger, package_digest, run, start, wait_until, write_config

pytestmark = pytest.mark.slow

MAKER = "tests.maker:project_reply"
NOBODY = "http://127.0.0.1:9/v1"  # nobody listens there


def step(accounts, name):
    return next(step for step in accounts["steps"] if step["step"] == name)


def journalled(run_dir: Path, name: str) -> set[str]:
    """Return the keys of a step's replies."""
    segments = (run_dir / "journal" / name).rglob("*.jsonl*")
    return {reply.key for path in segments for reply in read_segment(path)}


def shards(run_dir: Path) -> dict[str, dict[Path, int]]:
    """Return for each step when its shards were written."""
    found: dict[str, dict[Path, int]] = {}
    for path in run_dir.glob("*/[0-9]*/rows.parquet"):
        found.setdefault(path.parts[-3], {})[path.relative_to(run_dir)] = path.stat().st_mtime_ns
    return found


def without_manifest(digest):
    return {name: content for name, content in digest.items() if name != "manifest.json"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with running_endpoint(maker=MAKER) as endpoint:
        done = run("run", write_config(folder, endpoint.url))
        assert done.returncode == 0, done.stderr
        return folder / "run"


@pytest.fixture
def copied(finished, tmp_path):
    subprocess.run(["cp", "-r", "--preserve=timestamps", finished, tmp_path / "run"], check=True)
    return tmp_path / "run"


# Waves


def test_answers_of_one_wave_are_asked_for_beside_the_questions_of_a_later_one(tmp_path):
    with running_endpoint(maker=MAKER, latency_s=0.1, sigma=0.5) as endpoint:
        sections = {"run": {"dir": str(tmp_path / "run"), "shard_size": 4, "wave_size": 8}}
        config = write_config(tmp_path, endpoint.url, teacher={"max_in_flight": 4, "open_shards": 4}, **sections)
        done = run("run", config)
        assert done.returncode == 0, done.stderr
        asked = endpoint.stats()["ids"]
    generate, enrich = (
        sorted(asked[key][0] for key in journalled(tmp_path / "run", name)) for name in ("generate", "enrich")
    )
    assert generate[-1] > enrich[len(enrich) // 4], "all questions were asked before most answers were begun"
    assert enrich[0] > generate[8], "answers of the first wave waited for all of its questions"


def test_another_wave_size_changes_nothing_that_is_done(copied, tmp_path):
    before = shards(copied)
    done = run("run", write_config(tmp_path, NOBODY, run={"dir": str(copied), "shard_size": 8, "wave_size": 8}))
    assert done.returncode == 0, done.stderr
    assert shards(copied) == before


# What a change costs


def test_a_change_of_votes_keeps_what_comes_before_and_says_so_at_first(copied, tmp_path):
    before = shards(copied)
    with running_endpoint(maker=MAKER) as endpoint:
        done = run("run", write_config(tmp_path, endpoint.url, enrich={"samples": 7}))
        assert done.returncode == 0, done.stderr
        asked = endpoint.stats()["asked"]
    said = done.stderr.splitlines()[:2]
    assert said[0].startswith("kept: collect 12, seeds 7, generate 7, dedup 7 shards")
    assert "made anew: enrich 7, curate 7, package 7 shards (enrich.samples is 7, was 5)" in said[1]
    after = shards(copied)
    assert {name for name in after if after[name] != before[name]} == {"answers", "curated", "examples"}
    questions = step(ledger(copied), "dedup")["out"]
    assert len(asked) == 2 * questions, "the five samples that were paid for are used"


def test_a_changed_prompt_of_enrich_redoes_enrichment_onward(copied, tmp_path):
    prompts = Path(__file__).parents[1] / "curator_sdg" / "generation" / "prompts" / "enrich"
    own = tmp_path / "prompts"
    subprocess.run(["cp", "-r", prompts, own], check=True)
    name = min(own.glob("*.j2"))
    name.write_text(name.read_text() + "{# a note to ourselves #}\n")
    before = shards(copied)
    done = run("run", write_config(tmp_path, NOBODY, enrich={"prompts": str(own)}), "--until", "dedup")
    assert done.returncode == 0, done.stderr
    assert "prompts of enrich changed" in done.stderr
    assert shards(copied) == before


def test_smaller_shards_ask_nothing_again(copied, finished, tmp_path):
    done = run("run", write_config(tmp_path, NOBODY, run={"dir": str(copied), "shard_size": 2}))
    assert done.returncode == 0, done.stderr
    assert len(list((copied / "seeds").iterdir())) == 14
    assert package_digest(copied) == package_digest(finished)


def test_a_run_that_grows_is_cut_into_more_shards_and_asks_only_for_what_is_new(finished, tmp_path):
    with running_endpoint(maker=MAKER) as endpoint:
        sizes = {"run": {"dir": str(tmp_path / "run"), "shard_size": 8}}
        config = write_config(tmp_path, endpoint.url, **sizes)
        pilot = run("run", config, "--set", "seeds.limit_per_task=1")
        assert pilot.returncode == 0, pilot.stderr
        assert len(list((tmp_path / "run" / "seeds").iterdir())) == 2
        whole = run("run", config)
        assert whole.returncode == 0, whole.stderr
        assert set(endpoint.stats()["asked"].values()) == {1}
    assert len(list((tmp_path / "run" / "seeds").iterdir())) == 4
    assert package_digest(tmp_path / "run") == package_digest(finished)


def test_only_the_tasks_that_changed_are_read_again(copied, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in copied.glob("collected/*/rows.parquet")}
    tasks = [*[task for task in TASKS if task != "gsm8k"], {"name": "gsm8k", "limit": 2}]
    done = run("run", write_config(tmp_path, NOBODY, seeds={"tasks": tasks}), "--until", "seeds")
    assert done.returncode == 0, done.stderr
    assert "read again: gsm8k; what follows is made anew where that changes its seeds" in done.stderr
    after = {path: path.stat().st_mtime_ns for path in copied.glob("collected/*/rows.parquet")}
    assert {path.parent.name for path in after if after[path] != before[path]} == {"gsm8k"}


def test_a_lower_limit_asks_nobody_and_raising_it_again_makes_only_its_end_anew(copied, finished, tmp_path):
    config = write_config(tmp_path, NOBODY)
    lower = run("run", config, "--limit", 20)
    assert lower.returncode == 0, lower.stderr
    assert "made anew" not in lower.stderr
    assert step(ledger(copied), "seeds")["out"] == 20
    higher = run("run", config)
    assert higher.returncode == 0, higher.stderr
    assert "made anew: seeds 1 shards (run.limit is nothing, was 20)" in higher.stderr
    assert package_digest(copied) == package_digest(finished)


def test_a_task_that_is_left_out_goes_and_comes_back_without_asking(copied, finished, tmp_path):
    fewer = write_config(tmp_path, NOBODY, seeds={"tasks": [task for task in TASKS if task != "gsm8k"]})
    assert run("run", fewer).returncode == 0
    assert "gsm8k" not in (copied / "package" / "answer.jsonl").read_text()
    assert run("run", write_config(tmp_path, NOBODY)).returncode == 0
    assert package_digest(copied) == package_digest(finished)


# Beginning from another run


def test_a_run_that_begins_from_another_asks_only_for_what_is_new(finished, tmp_path):
    before = package_digest(finished)
    with running_endpoint(maker=MAKER) as endpoint:
        config = write_config(tmp_path, endpoint.url, enrich={"samples": 7})
        done = run("run", config, "--from", finished)
        assert done.returncode == 0, done.stderr
        asked = endpoint.stats()["asked"]
    assert "taken over from" in done.stderr
    assert "enrich.samples is 7, was 5" in done.stderr
    accounts = ledger(tmp_path / "run")
    assert accounts["balanced"]
    assert len(asked) == 2 * step(accounts, "dedup")["out"]
    assert package_digest(finished) == before
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with running_endpoint(maker=MAKER) as endpoint:
        assert run("run", write_config(fresh, endpoint.url, enrich={"samples": 7})).returncode == 0
    assert package_digest(fresh / "run") == package_digest(tmp_path / "run")


def test_a_run_from_the_same_configuration_asks_nothing_and_repeating_the_command_is_harmless(finished, tmp_path):
    config = write_config(tmp_path, NOBODY)
    for _ in range(2):
        done = run("run", config, "--from", finished)
        assert done.returncode == 0, done.stderr
        assert package_digest(tmp_path / "run") == package_digest(finished)


@pytest.mark.parametrize(
    ("source", "sections", "message"),
    [
        ("/nowhere", {}, "is no run directory"),
        ("self", {}, "is this run's own directory"),
    ],
)
def test_a_run_that_cannot_begin_from_another_says_why(finished, copied, tmp_path, source, sections, message):
    place = {"self": copied, "finished": finished}.get(source, source)
    target = copied if source == "self" else tmp_path / "new"
    sections = {"run": {"dir": str(target), "shard_size": 8, **sections.get("run", {})}}
    done = run("run", write_config(tmp_path, NOBODY, **sections), "--from", place)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_begins_from_one_other_only(finished, copied, tmp_path):
    config = write_config(tmp_path, NOBODY, run={"dir": str(tmp_path / "new"), "shard_size": 8})
    assert run("run", config, "--from", finished, "--until", "seeds").returncode == 0
    other = run("run", config, "--from", copied)
    assert other.returncode == 1
    assert "has begun from" in other.stderr


def test_a_take_over_that_was_interrupted_is_finished_by_whatever_start_comes_next(finished, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    (new / "epoch").write_text("1\n")
    (new / "from.json").write_text(json.dumps({"from": str(finished), "done": False}))
    done = run("run", write_config(tmp_path, NOBODY, run={"dir": str(new), "shard_size": 8}))
    assert done.returncode == 0, done.stderr
    assert package_digest(new) == package_digest(finished)


def test_a_take_over_whose_source_is_gone_is_an_error_until_it_is_back(finished, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    (new / "epoch").write_text("1\n")
    (new / "from.json").write_text(json.dumps({"from": str(tmp_path / "gone"), "done": False}))
    config = write_config(tmp_path, NOBODY, run={"dir": str(new), "shard_size": 8})
    done = run("run", config)
    assert done.returncode == 1
    assert "gone: is no run directory" in done.stderr
    (tmp_path / "gone").symlink_to(finished)
    assert run("run", config).returncode == 0


# Budgets


def test_a_run_that_reaches_its_budget_ends_with_what_is_whole_and_goes_on_when_it_is_raised(finished, tmp_path):
    whole = json.loads((finished / "ledger.json").read_text())["usage"]
    limit = (whole["prompt_tokens"] + whole["completion_tokens"]) * 2 // 3
    with running_endpoint(maker=MAKER) as endpoint:
        price = {"prompt": 1.0, "completion": 10.0}
        sizes = {"dir": str(tmp_path / "run"), "shard_size": 8, "wave_size": 8}
        config = write_config(tmp_path, endpoint.url, run=sizes, teacher={"price": price})
        first = run("run", config, "--set", f"run.max_tokens={limit}")
        assert first.returncode == 3, first.stderr
        assert "run.max_tokens:" in first.stderr
        assert "raise it and run the same command again" in first.stderr
        accounts = ledger(tmp_path / "run")
        assert accounts["balanced"]
        assert accounts["usage"]["prompt_tokens"] + accounts["usage"]["completion_tokens"] < 1.02 * limit
        assert accounts["usage"]["cost"] > 0
        assert step(accounts, "package")["out"] > 0, "the waves that were done are packaged"
        again = run("run", config, "--set", "run.max_cost=0.001")
        assert again.returncode == 3
        assert "run.max_cost:" in again.stderr
        last = run("run", config)
        assert last.returncode == 0, last.stderr
        assert set(endpoint.stats()["asked"].values()) == {1}
    assert without_manifest(package_digest(tmp_path / "run")) == without_manifest(package_digest(finished))


def test_a_run_whose_time_is_over_ends_resumable(finished, tmp_path):
    with running_endpoint(maker=MAKER, latency_s=0.5) as endpoint:
        config = write_config(tmp_path, endpoint.url, teacher={"max_in_flight": 4})
        first = run("run", config, "--set", f"run.max_hours={8 / 3600}")
        assert first.returncode == 3, first.stderr
        assert "run.max_hours:" in first.stderr
        asked = sum(endpoint.stats()["asked"].values())
        assert 0 < asked < 286
    with running_endpoint(maker=MAKER) as endpoint:
        last = run("run", write_config(tmp_path, endpoint.url, teacher={"max_in_flight": 4}))
        assert last.returncode == 0, last.stderr
        both = asked + sum(endpoint.stats()["asked"].values())
    assert both == sum(
        step(ledger(tmp_path / "run"), name)["planned"] * n for name, n in (("generate", 1), ("enrich", 5))
    )
    assert package_digest(tmp_path / "run") == package_digest(finished)


def test_a_budget_that_allows_no_whole_wave_says_so_and_packages_nothing(tmp_path):
    with running_endpoint(maker=MAKER) as endpoint:
        config = write_config(tmp_path, endpoint.url)
        for limit in (1, 40_000):
            done = run("run", config, "--set", f"run.max_tokens={limit}")
            assert done.returncode == 3, done.stderr
            assert "run.max_tokens:" in done.stderr
            accounts = ledger(tmp_path / "run")
            assert accounts["balanced"]
            assert sum(entry["pending"] for entry in accounts["steps"]) > 0


def test_a_package_that_has_more_is_left_while_rows_are_pending(copied, finished, tmp_path):
    with running_endpoint(maker=MAKER) as endpoint:
        config = write_config(tmp_path, endpoint.url, enrich={"samples": 7})
        done = run("run", config, "--set", "run.max_tokens=1000")
        assert done.returncode == 3
        assert "is left as it was" in done.stderr
        assert package_digest(copied) == package_digest(finished)
        assert run("run", config).returncode == 0
    assert package_digest(copied) != package_digest(finished)


# Rejects that are asked again


def test_rejects_are_asked_again_by_reason_and_nothing_else_is(tmp_path):
    with running_endpoint(maker=MAKER, garbage=0.2, cut=0.1) as endpoint:
        config = write_config(tmp_path, endpoint.url)
        assert run("run", config).returncode == 0
        before, asked = ledger(tmp_path / "run"), Counter(endpoint.stats()["ids"].keys())
        rejected = step(before, "generate")["rejected"]
        done = run("run", config, "--retry-rejects", "garbage,cut")
        assert done.returncode == 0, done.stderr
        after, stats = ledger(tmp_path / "run"), endpoint.stats()
    assert "asked about again:" in done.stderr
    assert after["balanced"]
    assert step(after, "generate")["planned"] == step(before, "generate")["planned"]
    assert step(after, "generate")["out"] > step(before, "generate")["out"]
    new_keys = stats["ids"].keys() - asked.keys()
    assert set(stats["asked"].values()) == {1}
    generated = new_keys & journalled(tmp_path / "run", "generate")
    assert len(generated) == rejected["garbage"] + rejected["cut"]
    again = run("run", config)
    assert again.returncode == 0, "the replies hold without being told again"


def test_a_reason_that_nothing_was_rejected_for_is_an_error_that_names_those_there_are(copied, tmp_path):
    done = run("run", write_config(tmp_path, NOBODY), "--retry-rejects", "gabrage")
    assert done.returncode == 1
    assert "--retry-rejects gabrage: generate and enrich have no such rejects; there are" in done.stderr


def test_what_cannot_be_asked_again_does_not_take_over_a_run_that_goes_on(tmp_path):
    with running_endpoint(maker=MAKER, latency_s=0.2) as endpoint:
        config = write_config(tmp_path, endpoint.url)
        first = start("run", config)
        wait_until(lambda: sum(endpoint.stats()["answered"].values()) >= 20)
        assert run("run", config, "--retry-rejects", "gabrage").returncode == 1
        assert run("run", config, "--from", "/nowhere").returncode == 1
        _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_asking_again_that_was_interrupted_goes_on_with_the_same_command(tmp_path, how):
    again = ("--retry-rejects", "garbage")
    with running_endpoint(maker=MAKER, garbage=0.3, latency_s=0.1) as endpoint:
        config = write_config(tmp_path, endpoint.url, teacher={"max_in_flight": 4})
        assert run("run", config).returncode == 0
        before = sum(endpoint.stats()["answered"].values())
        process = start("run", config, *again)
        wait_until(lambda: sum(endpoint.stats()["answered"].values()) >= before + 4)
        below = children(process.pid)
        process.send_signal(how)
        process.communicate(timeout=60)
        wait_until(lambda: not alive(below))
        on = run("run", config, *again)
        assert on.returncode == 0, on.stderr
        assert "going on with the rejects that are asked about again (garbage)" in on.stderr
        asked = endpoint.stats()["asked"]
        assert sum(count - 1 for count in asked.values()) <= 4, "what was in flight"
        keys = len(asked)
        assert run("run", config).returncode == 0
        assert len(endpoint.stats()["asked"]) == keys, "it is done, and not done again"


def test_asking_again_is_not_done_while_rows_are_pending(tmp_path):
    again = ("--retry-rejects", "garbage")
    with running_endpoint(maker=MAKER, garbage=0.3) as endpoint:
        assert run("run", write_config(tmp_path, endpoint.url)).returncode == 0
    with running_endpoint(maker=MAKER, garbage=0.3, server_error=0.5, fault_tries=1) as endpoint:
        config = write_config(tmp_path, endpoint.url, teacher={"max_retries": 0})
        first = run("run", config, *again)
        assert first.returncode == 3, first.stderr
        other = run("run", config, "--retry-rejects", "no_majority")
        assert other.returncode == 1
        assert "those with garbage are still being asked again" in other.stderr
        for _ in range(5):
            if (on := run("run", config, *again)).returncode != 3:
                break
        assert on.returncode == 0, on.stderr
        assert "going on with the rejects" in on.stderr
        assert max(endpoint.stats()["answered"].values()) == 1
    counts = [json.loads(path.read_text()) for path in (tmp_path / "run" / "retries").glob("*/*.json")]
    assert {count for rows in counts for count in rows.values()} == {1}


def test_a_run_can_begin_from_another_and_ask_its_rejects_again(tmp_path):
    with running_endpoint(maker=MAKER, garbage=0.3) as endpoint:
        assert run("run", write_config(tmp_path, endpoint.url)).returncode == 0
        new = {"dir": str(tmp_path / "new"), "shard_size": 8}
        config = write_config(tmp_path, endpoint.url, run=new)
        done = run("run", config, "--from", tmp_path / "run", "--retry-rejects", "garbage")
        assert done.returncode == 0, done.stderr
        assert set(endpoint.stats()["asked"].values()) == {1}
    before, after = (step(ledger(tmp_path / name), "generate") for name in ("run", "new"))
    assert after["out"] > before["out"]


def test_a_recorded_teacher_cannot_be_asked_again(copied, tmp_path):
    teacher = {"engine": "recorded", "recording": str(copied / "journal")}
    done = run("run", write_config(tmp_path, NOBODY, teacher=teacher), "--retry-rejects", "cut")
    assert done.returncode == 1
    assert "a recorded teacher can only say again what it said" in done.stderr
    assert not (copied / "retries").exists()


def test_rows_that_were_never_asked_about_cannot_be_asked_again(copied, tmp_path):
    done = run("run", write_config(tmp_path, NOBODY), "--retry-rejects", "no_prompt")
    assert done.returncode == 1
    assert "nothing was asked for such rows" in done.stderr


def test_the_bill_counts_every_start(finished):
    accounts = json.loads((finished / "ledger.json").read_text())
    assert (
        accounts["usage"]["replies"] == step(accounts, "generate")["planned"] + 5 * step(accounts, "enrich")["planned"]
    )
    assert accounts["usage"]["cost"] is None, "no price was named"
