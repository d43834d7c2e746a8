"""What befalls a run: killed processes, a faulty teacher, full and read-only disks, a second start beside it.

Whatever it was, the same command ends in the package, and the rows of every step, of a run that nothing happened to,
and asks for no reply again that the journal holds.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curator_sdg.store import PENDING, REJECTS, list_shards, read_rows
from tests.endpoint import Endpoint, running_endpoint
from tests.runs import alive, children, ledger, package_digest, run, start, wait_until, workers, write_config

pytestmark = pytest.mark.slow

MAKER = "tests.maker:project_reply"
IN_FLIGHT = 16
SHARDS = {"run": {"shard_size": 4, "wave_size": 16}}  # four waves of 56 seeds
KILLS = 10

Moment = tuple[str, int]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The directory of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with running_endpoint(maker=MAKER) as endpoint:
        done = run("run", config_of(folder, endpoint))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def config_of(folder: Path, endpoint: Endpoint, **sections: dict[str, Any]) -> Path:
    sections = {**sections, "run": {"dir": str(folder / "run"), **SHARDS["run"], **sections.get("run", {})}}
    return write_config(folder, endpoint.url, **{"teacher": {"max_in_flight": IN_FLIGHT}, **sections})


def contents(run_dir: Path) -> dict[str, Any]:
    """Return what every shard of every step holds: a hash of its rows, its figures, its rejects."""
    steps = sorted({path.parent.parent for path in run_dir.glob("*/*/rows.parquet")})
    return {
        f"{step.name}/{name}": (shard.content, shard.counts.to_json(), read_rows(shard.path, REJECTS).to_pylist())
        for step in steps
        for name, shard in list_shards(step).items()
    }


def assert_as_if_undisturbed(run_dir: Path, undisturbed: Path) -> None:
    assert package_digest(run_dir) == package_digest(undisturbed)
    assert contents(run_dir) == contents(undisturbed)
    assert ledger(run_dir) == ledger(undisturbed)
    assert not list(run_dir.glob(".*.tmp")) + list(run_dir.glob("*/.*.tmp")), "nothing half-written stays"


def assert_one_clear_error(returncode: int, err: str, *parts: str) -> str:
    """Make sure that a start ended with one message and nothing of how the program works inside; return it."""
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert returncode == 1, err
    assert len(errors) == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in errors[0]
    return errors[0]


def segments(run_dir: Path) -> list[Path]:
    return [path for path in (run_dir / "journal").glob("*/*/[!.]*") if path.name.endswith((".jsonl", ".jsonl.zst"))]


def entries(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield all replies that are whole in the journal at this moment."""
    for path in segments(run_dir):
        try:
            data = _unpacked(path)
        except FileNotFoundError:  # sealed just now
            data = _unpacked(path.with_name(path.name + ".zst"))
        yield from (json.loads(line) for line in data.splitlines(keepends=True) if line.endswith(b"\n"))


def _unpacked(path: Path) -> bytes:
    if path.suffix != ".zst":
        return path.read_bytes()
    with pa.input_stream(str(path), compression="zstd") as stream:
        return stream.read()


class Journalled:
    """What was in the journal at each disturbance, so that in the end it is seen whether it was asked for again."""

    def __init__(self, endpoint: Endpoint, run_dir: Path) -> None:
        self._endpoint, self._run_dir = endpoint, run_dir
        self._seen: list[tuple[float, set[str]]] = []

    def look(self) -> None:
        keys = {entry["key"] for entry in entries(self._run_dir)}
        self._seen.append((time.time(), keys))  # what is asked from now on must not be among them

    def assert_not_asked_again(self, at_most: int) -> None:
        """Make sure of it, and that no more than ``at_most`` requests were asked again at all."""
        asked = self._endpoint.stats()["ids"]
        for when, keys in self._seen:
            assert keys <= asked.keys()
            assert not [key for key in keys if max(asked[key]) > when]
        assert sum(len(times) - 1 for times in asked.values()) <= at_most


@contextmanager
def starting(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a run whose processes all end with the block, whatever it thinks of it."""
    process = start("run", config)
    below: list[int] = []
    try:
        yield process
    finally:
        below = children(process.pid)
        for pid in alive([process.pid, *below]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)


def reach(moment: Moment, endpoint: Endpoint, run_dir: Path, process: subprocess.Popen[str]) -> None:
    """Wait for so many replies, or shards in a folder, or for something half-written in a folder (``"seeds/"``)."""
    what, n = moment

    def reached() -> bool:
        if what == "answered":
            return sum(endpoint.stats()["answered"].values()) >= n
        if what.endswith("/"):
            return any((run_dir / what).glob(".*.tmp"))
        if what == "package":
            return any(run_dir.glob(".package.*.tmp")) or (run_dir / "package").exists()
        return len(list((run_dir / what).glob("[!.]*/rows.parquet"))) >= n

    end = time.monotonic() + 60
    while not reached():
        if process.poll() is not None:
            pytest.fail(f"the run ended before {moment}, status {process.returncode}\n{process.communicate()[1]}")
        assert time.monotonic() < end, f"{moment} did not come"
        time.sleep(0.05 if what == "answered" else 0.001)


def ended(process: subprocess.Popen[str], within: float = 60) -> str:
    """Wait for the end of a run and return what it said."""
    try:
        return process.communicate(timeout=within)[1]
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode()
        pytest.fail(f"the run did not end within {within} s\n{said}")


def spread(rng: random.Random, n: int, first: int, last: int) -> list[Moment]:
    """Return ``n`` moments by number of replies, one at random in each ``n``-th of the way."""
    width = (last - first) / n
    return [("answered", int(first + width * (at + rng.random()))) for at in range(n)]


# ---- killed ------------------------------------------------------------------------------------------------------


def test_a_run_whose_driver_is_killed_ten_times_makes_the_same_package(undisturbed, tmp_path):
    rng = random.Random(1)
    moments: list[Moment] = [
        ("collected", rng.randint(1, 11)),
        ("answered", rng.randint(1, 15)),
        ("dedup", rng.randint(1, 4)),
        *spread(rng, 4, 30, 330),
        ("curated", rng.randint(1, 13)),
        ("examples", rng.randint(1, 13)),
        ("package", 1),
    ]
    assert len(moments) == KILLS
    with running_endpoint(maker=MAKER, latency_s=0.1, sigma=0.6) as endpoint:
        config = config_of(tmp_path, endpoint)
        journal = Journalled(endpoint, tmp_path / "run")
        for moment in moments:
            with starting(config) as process:
                reach(moment, endpoint, tmp_path / "run", process)
                below = children(process.pid)
                process.kill()
                journal.look()
                wait_until(lambda: not alive(below), timeout=30)  # noqa: B023
                journal.look()  # workers saw the driver vanish only a little later
        last = run("run", config)
        assert last.returncode == 0, last.stderr
        journal.assert_not_asked_again(KILLS * IN_FLIGHT)
    assert_as_if_undisturbed(tmp_path / "run", undisturbed)


def teacher_worker(run_dir: Path, driver: int) -> int | None:
    """Return the process that asks the teacher, known by the journal's files: their names hold their writer's pid."""
    writers = {int(path.name.split("-")[1]) for path in segments(run_dir)}
    return next((pid for pid in workers(driver) if pid in writers), None)


def kill_workers(
    victims: Callable[[int], list[int]],
    moments: list[Moment],
    endpoint: Endpoint,
    folder: Path,
) -> Journalled:
    """Run to the end, and kill at each moment the workers that ``victims`` names for a driver."""
    journal = Journalled(endpoint, folder / "run")
    with starting(config_of(folder, endpoint)) as process:
        for moment in moments:
            reach(moment, endpoint, folder / "run", process)
            wait_until(lambda: victims(process.pid) or process.poll() is not None)
            for pid in victims(process.pid):
                os.kill(pid, signal.SIGKILL)
            journal.look()
        err = ended(process)
        assert process.returncode == 0, err
        assert "Traceback" not in err
    return journal


def test_a_run_goes_on_by_itself_when_cpu_workers_are_killed_ten_times(undisturbed, tmp_path):
    rng = random.Random(2)
    moments: list[Moment] = [
        ("collected", rng.randint(1, 6)),
        ("answered", rng.randint(1, 15)),
        ("dedup", 4),
        *spread(rng, 5, 30, 330),
        ("curated", rng.randint(1, 8)),
        ("examples", rng.randint(1, 8)),
    ]
    assert len(moments) == KILLS

    def any_cpu_worker(driver: int) -> list[int]:
        others = [pid for pid in workers(driver) if pid != teacher_worker(tmp_path / "run", driver)]
        return [rng.choice(others)] if others else []

    with running_endpoint(maker=MAKER, latency_s=0.2, sigma=0.6) as endpoint:
        journal = kill_workers(any_cpu_worker, moments, endpoint, tmp_path)
        journal.assert_not_asked_again(0)
    assert_as_if_undisturbed(tmp_path / "run", undisturbed)


def test_a_run_goes_on_by_itself_when_all_cpu_workers_are_killed_at_once(undisturbed, tmp_path):
    def cpu_workers(driver: int) -> list[int]:
        teacher = teacher_worker(tmp_path / "run", driver)
        return [pid for pid in workers(driver) if teacher not in (None, pid)]

    # As a step ends, so that the next one begins without them; and within a step.
    moments: list[Moment] = [("dedup", 4), ("answers", 14), ("examples", 5)]
    with running_endpoint(maker=MAKER, latency_s=0.05) as endpoint:
        journal = kill_workers(cpu_workers, moments, endpoint, tmp_path)
        journal.assert_not_asked_again(0)
    assert_as_if_undisturbed(tmp_path / "run", undisturbed)


def test_a_run_goes_on_by_itself_when_the_teacher_worker_is_killed_ten_times(undisturbed, tmp_path):
    rng = random.Random(3)
    moments: list[Moment] = [
        ("answered", rng.randint(1, 15)),
        ("dedup", 4),
        *spread(rng, 4, 30, 180),
        ("answers", 8),
        *spread(rng, 2, 200, 320),
        ("curated", 1),  # when it is not wanted any more
    ]
    assert len(moments) == KILLS

    def teacher(driver: int) -> list[int]:
        found = teacher_worker(tmp_path / "run", driver)
        return [found] if found else []

    with running_endpoint(maker=MAKER, latency_s=0.1, sigma=0.6) as endpoint:
        journal = kill_workers(teacher, moments, endpoint, tmp_path)
        journal.assert_not_asked_again(KILLS * IN_FLIGHT)
    assert_as_if_undisturbed(tmp_path / "run", undisturbed)


# ---- a faulty teacher --------------------------------------------------------------------------------------------

# How a question ends that lost votes: no majority is left, or most of its samples failed in one way.
LOST = {"no_majority", "garbage", "cut"}


def rows(run_dir: Path, folder: str, key: str, file: str = "rows.parquet") -> dict[str, dict[str, Any]]:
    """Return the rows of all shards of a step by their ``key``."""
    shards = list_shards(run_dir / folder).values()
    return {row[key]: row for shard in shards for row in read_rows(shard.path, file).to_pylist()}


def rejects(run_dir: Path, folder: str) -> dict[str, dict[str, Any]]:
    """Return the rejects of a step by record; those of ``questions`` by the seed that was to have one."""
    found = rows(run_dir, folder, "record_id", REJECTS)
    return {name.partition("-")[0]: row for name, row in found.items()} if folder == "questions" else found


def packaged(run_dir: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the examples of the package by question and variant."""
    lines = [line for path in (run_dir / "package").glob("*.jsonl") for line in path.read_text().splitlines()]
    return {(example["question_id"], example["variant"]): example for example in map(json.loads, lines)}


def only(rows: dict[Any, Any], keys: Callable[[Any], bool]) -> dict[Any, Any]:
    return {key: row for key, row in rows.items() if keys(key)}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """The directory of a run whose teacher errs; the seeds and the questions whose replies it spoilt."""
    faults = {"rate_limit": 0.1, "server_error": 0.05, "drop": 0.05, "garbage": 0.05, "cut": 0.05}
    folder = tmp_path_factory.mktemp("faulty")
    with running_endpoint(maker=MAKER, **faults) as endpoint:
        done = run("run", config_of(folder, endpoint))
        stats = endpoint.stats()
    assert done.returncode == 0, done.stderr
    assert all(stats["faults"][fault] > 5 for fault in faults)
    spoilt = [(e["step"], e["record_id"]) for e in entries(folder / "run") if e["key"] in stats["spoilt"]]
    assert len(spoilt) == len(stats["spoilt"]), "each is journalled, and once"
    seeds, questions = (Counter(record for step, record in spoilt if step == of) for of in ("generate", "enrich"))
    return folder / "run", seeds, questions


def test_a_run_with_a_faulty_teacher_ends_by_itself_and_balances(faulty):
    run_dir, _, _ = faulty
    accounts = ledger(run_dir)
    assert accounts["balanced"]
    assert not [step for step in accounts["steps"] if step["pending"]]
    assert not list(run_dir.rglob(".*.tmp"))


def test_a_spoilt_question_costs_that_question_and_no_other(faulty, undisturbed):
    run_dir, spoilt, _ = faulty
    assert len(spoilt) > 2
    questions, clean = rows(run_dir, "questions", "seed_id"), rows(undisturbed, "questions", "seed_id")
    assert questions == only(clean, lambda seed: seed not in spoilt)
    rejected = rejects(run_dir, "questions")
    assert {rejected[seed]["reason"] for seed in spoilt} == {"garbage", "cut"}
    assert only(rejected, lambda seed: seed not in spoilt) == only(
        rejects(undisturbed, "questions"), lambda seed: seed not in spoilt
    )


def test_spoilt_votes_count_against_the_winner_and_never_make_another_one(faulty, undisturbed):
    run_dir, _, spoilt = faulty
    questions = rows(run_dir, "questions", "question_id")
    answers, clean = rows(run_dir, "answers", "question_id"), rows(undisturbed, "answers", "question_id")
    assert only(answers, lambda question: question not in spoilt) == only(
        clean, lambda question: question in questions and question not in spoilt
    )
    rejected = rejects(run_dir, "answers")
    for question, votes in spoilt.items():
        if question in answers:
            answer, without = answers[question], clean[question]  # where there is a majority of 5, there was one
            assert (answer["answer"], answer["k"]) == (without["answer"], without["k"])
            assert answer["n_parsed"] == without["n_parsed"] - votes
            assert without["share"] - votes / answer["k"] - 1e-9 <= answer["share"] <= without["share"]
        elif question in clean:  # else it was lost without faults, too
            assert rejected[question]["reason"] in LOST
    assert spoilt.keys() & answers.keys()


def test_every_example_is_that_of_the_faultless_run_or_its_loss_is_explained(faulty, undisturbed):
    run_dir, seeds, questions = faulty
    examples, clean = packaged(run_dir), packaged(undisturbed)
    dropped = {folder: rejects(run_dir, folder) for folder in ("questions", "answers", "curated", "examples")}
    untouched = {key for key, example in clean.items() if example["seed_id"] not in seeds and key[0] not in questions}
    assert only(examples, lambda key: key[0] not in questions) == only(clean, lambda key: key in untouched)
    for (question, variant), example in clean.items():
        if (kept := examples.get((question, variant))) is not None:
            assert kept["answer"] == example["answer"]
        else:  # a trace that was lost with its vote takes along the variant that needs it
            assert (
                example["seed_id"] in dropped["questions"]
                or question in dropped["answers"]
                or question in dropped["curated"]
                or f"{question}-{variant}" in dropped["examples"]
            )


# ---- workers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4])  # that of the undisturbed run is 2
def test_the_number_of_workers_changes_no_row_of_any_step(undisturbed, tmp_path, count):
    with running_endpoint(maker=MAKER) as endpoint:
        done = run("run", config_of(tmp_path, endpoint, cluster={"workers": count}))
    assert done.returncode == 0, done.stderr
    assert_as_if_undisturbed(tmp_path / "run", undisturbed)


# ---- disks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A small file system in memory for the run directory, and how it is mounted anew with other options."""
    folder = tmp_path / "run"
    folder.mkdir()

    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0

    if not mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)):
        pytest.skip("no file system may be mounted here")
    yield folder, lambda option: mount("-o", f"remount,{option}", str(folder))
    subprocess.run(["umount", "--lazy", folder], check=False)


def pages(*folders: Path) -> int:
    """Return the bytes that all files below take on a disk of 4 KiB blocks."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files)


def fill(ballast: Path) -> None:
    """Leave no room on a disk."""
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(handle, bytes(4096)):
            pass
    os.close(handle)


def assert_all_whole(run_dir: Path) -> None:
    """Make sure that whatever has the name of a shard is one, with all its files, and adds up."""
    for step in {path.parent for path in run_dir.glob("*/[!.]*") if path.is_dir()} - {run_dir / "journal"}:
        if step.name == "package":
            continue
        names = {path.name for path in step.glob("[!.]*")}
        assert list_shards(step).keys() == names
        for shard in list_shards(step).values():
            assert read_rows(shard.path).num_rows == shard.counts.out
            assert read_rows(shard.path, REJECTS).num_rows == shard.counts.rejected.total()
            assert read_rows(shard.path, PENDING).num_rows == shard.counts.pending
    assert not (run_dir / "package").exists()


def test_a_run_on_a_full_disk_stops_with_one_message_and_goes_on_once_there_is_room(undisturbed, disk, tmp_path):
    run_dir, remount = disk
    used = {path.name: pages(path) for path in undisturbed.iterdir() if path.is_dir()}
    asking = sum(used[folder] for folder in ("questions", "dedup", "answers", "journal"))
    before = 4 * 4096 + used["collected"] + used["seeds"]
    sizes = [
        4096,  # not even run.yaml
        used["collected"] // 2,
        before - used["seeds"] // 2,
        before + asking // 2,
        before + asking + used["curated"] // 2,
        before + asking + used["curated"] + used["examples"] // 2,
        before + asking + used["curated"] + used["examples"] + used["package"] // 2,
    ]
    places = set()
    with running_endpoint(maker=MAKER, latency_s=0.02) as endpoint:
        config = config_of(tmp_path, endpoint)
        journal = Journalled(endpoint, run_dir)
        for size in sizes:
            assert remount(f"size={size}")
            done = run("run", config)
            error = assert_one_clear_error(done.returncode, done.stderr, str(run_dir), "the disk is full")
            places.add(error.partition(str(run_dir))[2].split("/")[1].split(":")[0])
            journal.look()
            assert_all_whole(run_dir)
        assert remount("size=64m")
        done = run("run", config)
        assert done.returncode == 0, done.stderr
        journal.assert_not_asked_again(len(sizes) * IN_FLIGHT)
    assert_as_if_undisturbed(run_dir, undisturbed)
    assert {"run.yaml", "collected", "seeds", "curated", "examples", "package"} <= places
    assert places & {"journal", "questions", "answers"}


def test_a_disk_that_fills_up_while_the_teacher_is_asked_costs_no_reply(undisturbed, disk, tmp_path):
    run_dir, _ = disk
    with running_endpoint(maker=MAKER, latency_s=0.1, sigma=0.6) as endpoint:
        config = config_of(tmp_path, endpoint)
        journal = Journalled(endpoint, run_dir)
        for moment in (("answered", 8), ("answered", 180)):  # in generate, and in enrich
            with starting(config) as process:
                reach(moment, endpoint, run_dir, process)
                fill(run_dir / "ballast")
                err = ended(process)
            assert_one_clear_error(process.returncode, err, str(run_dir), "the disk is full")
            journal.look()
            (run_dir / "ballast").unlink()
            assert_all_whole(run_dir)
        done = run("run", config)
        assert done.returncode == 0, done.stderr
        journal.assert_not_asked_again(2 * IN_FLIGHT)
    assert_as_if_undisturbed(run_dir, undisturbed)


def test_a_run_directory_that_is_read_only_is_one_clear_error_and_can_be_read(undisturbed, disk, tmp_path):
    run_dir, remount = disk
    with running_endpoint(maker=MAKER) as endpoint:
        config = config_of(tmp_path, endpoint)
        for _ in ("from the beginning", "with a run"):
            assert remount("ro")
            done = run("run", config)
            assert_one_clear_error(done.returncode, done.stderr, str(run_dir), "read-only", "--run-dir")
            assert not endpoint.stats()["asked"]
            assert remount("rw")
            subprocess.run(["cp", "-r", "--preserve=timestamps", f"{undisturbed}/.", run_dir], check=True)
        assert remount("ro")
        assert ledger(run_dir) == ledger(undisturbed)
        assert run("show", run_dir).returncode == 0


def test_a_run_directory_that_becomes_read_only_is_one_clear_error(undisturbed, disk, tmp_path):
    run_dir, remount = disk
    with running_endpoint(maker=MAKER, latency_s=0.1) as endpoint:
        config = config_of(tmp_path, endpoint)
        journal = Journalled(endpoint, run_dir)
        with starting(config) as process:
            reach(("collected", 2), endpoint, run_dir, process)
            wait_until(lambda: remount("ro"))  # refused while a file is being written
            err = ended(process)
        assert_one_clear_error(process.returncode, err, str(run_dir), "read-only")
        assert remount("rw")
        journal.look()
        done = run("run", config)
        assert done.returncode == 0, done.stderr
        journal.assert_not_asked_again(IN_FLIGHT)
    assert_as_if_undisturbed(run_dir, undisturbed)


# ---- two at once -------------------------------------------------------------------------------------------------


def epoch(run_dir: Path) -> int:
    return int((run_dir / "epoch").read_text())


def assert_taken_over(first: subprocess.Popen[str], below: list[int]) -> None:
    err = ended(first, within=15)
    assert_one_clear_error(first.returncode, err, "taken over")
    wait_until(lambda: not alive(below), timeout=15)


def assert_finishes(second: subprocess.Popen[str]) -> None:
    err = ended(second)
    assert second.returncode == 0, err
    assert "Traceback" not in err


def test_a_second_start_takes_over_and_the_first_one_stops_within_seconds(undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    with running_endpoint(maker=MAKER, latency_s=0.3, sigma=0.6) as endpoint:
        config = config_of(tmp_path, endpoint)
        journal = Journalled(endpoint, run_dir)
        with starting(config) as first:
            reach(("answered", 100), endpoint, run_dir, first)
            below = children(first.pid)
            with starting(config) as second:
                wait_until(lambda: epoch(run_dir) == 2)
                journal.look()
                assert_taken_over(first, below)
                journal.look()
                assert_finishes(second)
        journal.assert_not_asked_again(IN_FLIGHT)
    assert_as_if_undisturbed(run_dir, undisturbed)


@pytest.mark.parametrize("writing", ["collected/", "questions/", "examples/", "package"])
def test_a_start_that_was_frozen_while_another_took_over_stops_when_it_wakes(undisturbed, tmp_path, writing):
    run_dir = tmp_path / "run"
    with running_endpoint(maker=MAKER, latency_s=0.1, sigma=0.6) as endpoint:
        config = config_of(tmp_path, endpoint)
        journal = Journalled(endpoint, run_dir)
        with starting(config) as first:
            reach((writing, 1), endpoint, run_dir, first)
            os.killpg(first.pid, signal.SIGSTOP)
            written = (run_dir / "run.yaml").stat().st_mtime_ns
            journal.look()
            below = children(first.pid)
            with starting(config) as second:
                # The second one has the number, and has cleared away what was half-written.
                wait_until(lambda: (run_dir / "run.yaml").stat().st_mtime_ns != written)
                os.killpg(first.pid, signal.SIGCONT)
                assert_taken_over(first, below)
                journal.look()
                assert_finishes(second)
        journal.assert_not_asked_again(IN_FLIGHT)
    assert_as_if_undisturbed(run_dir, undisturbed)
