"""Segments that others left plain are sealed once their writers are gone, and nothing is lost on the way."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curator_sdg.errors import StoreError
from tests.teacher.requests import make_requests
from tests.teacher.writer import ROOT, journal, reply, start, write


def names(root: Path) -> list[str]:
    """Return the kinds of the segments of the shard, in the attempts' order."""
    return [path.name.partition(".")[2] for path in sorted((root / "generate" / "shard-0").glob("[!.]*.jsonl*"))]


def assert_holds(root: Path, n: int) -> None:
    j = journal(root, 99)
    assert len(j) == n
    assert all(j.get(request.key) == reply(request) for request in make_requests(n))


def abandon(root: Path, epoch: int, first: int, n: int) -> Path:
    """Leave a plain segment as a killed process does, and return its path."""
    with write(root, epoch, first, n) as j:
        return j.path


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with start(tmp_path, 1, 0, 3) as process:
        yield process
        process.kill()


def test_a_segment_is_left_to_its_writer_and_sealed_once_that_is_killed(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    write(tmp_path, 2, 3, 2).seal()
    assert names(tmp_path) == ["jsonl", "jsonl.zst"]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    write(tmp_path, 3, 5, 1).seal()
    assert names(tmp_path) == ["jsonl.zst"] * 3
    assert_holds(tmp_path, 6)


def test_an_attempt_that_asks_nothing_seals_what_others_left(tmp_path: Path) -> None:
    abandon(tmp_path, 1, 0, 3)
    abandon(tmp_path, 2, 3, 3)
    journal(tmp_path, 3).seal()
    assert names(tmp_path) == ["jsonl.zst"] * 2
    assert_holds(tmp_path, 6)


def test_a_segment_that_another_thread_writes_is_left_to_it(tmp_path: Path) -> None:
    first = write(tmp_path, 1, 0, 2)
    write(tmp_path, 2, 2, 2).seal()
    assert names(tmp_path) == ["jsonl", "jsonl.zst"]
    for request in make_requests(2, first=4):
        first.append(reply(request), request)
    first.seal()
    assert names(tmp_path) == ["jsonl.zst"] * 2
    assert_holds(tmp_path, 6)


@pytest.mark.parametrize("tail", ['{"key": "a', '{"key": "a", "text": "b", "finish_reason": "stop"}', "\0\0\0"])
def test_a_torn_last_line_is_dropped(tmp_path: Path, tail: str) -> None:
    path = abandon(tmp_path, 1, 0, 3)
    path.write_text(path.read_text() + tail)
    journal(tmp_path, 2).seal()
    assert names(tmp_path) == ["jsonl.zst"]
    assert_holds(tmp_path, 3)


def test_a_segment_without_a_whole_line_is_sealed_as_well(tmp_path: Path) -> None:
    abandon(tmp_path, 1, 0, 1).write_text("{")
    journal(tmp_path, 2).seal()
    assert names(tmp_path) == ["jsonl.zst"]
    assert_holds(tmp_path, 0)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_only_the_own_segment_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    abandon(tmp_path, 1, 0, 2)
    write(tmp_path, 2, 2, 2).seal()
    assert names(tmp_path) == ["jsonl", "jsonl.zst"]
    assert_holds(tmp_path, 4)


def test_a_sealed_segment_is_not_made_anew_from_a_plain_one_that_a_power_cut_shortened(tmp_path: Path) -> None:
    plain = abandon(tmp_path, 1, 0, 3)
    lines = plain.read_bytes().splitlines(keepends=True)
    journal(tmp_path, 2).seal()
    plain.write_bytes(lines[0])
    journal(tmp_path, 3).seal()
    assert names(tmp_path) == ["jsonl.zst"]
    assert_holds(tmp_path, 3)


def test_a_listing_that_misses_a_segment_that_is_renamed_meanwhile_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1, 0, 3).seal()
    listings = iter([[], [path.name for path in (tmp_path / "generate" / "shard-0").iterdir()]])
    monkeypatch.setattr("os.listdir", lambda _: next(listings))
    assert_holds(tmp_path, 3)


# Each ends the process in the middle of sealing, before the call that it names; the last one after all of them.
MOMENTS = {
    "half of it is compressed": ("pathlib.Path.open", 1),
    "it is synced": ("curator_sdg.teacher.journal.segment.sync", 1),
    "it is renamed": ("pathlib.Path.replace", 1),
    "the rename is synced": ("curator_sdg.teacher.journal.segment.sync", 2),
    "the plain one is removed": ("pathlib.Path.unlink", 2),  # the first would remove what is half written
    "it is counted": ("curator_sdg.teacher.journal.shard.shard_usage", 1),
}
CRASH = """
import os, pathlib, pkgutil, signal, sys
from tests.teacher.writer import journal

root, target, nth = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
j = journal(root, 2)
owner, name = pkgutil.resolve_name(target.rpartition(".")[0]), target.rpartition(".")[2]
original, calls = getattr(owner, name), 0

def call(*args, **kwargs):
    global calls
    calls += 1
    if calls < nth:
        return original(*args, **kwargs)
    if name == "open":
        original(*args, **kwargs).write(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, call)
j.seal()
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_while_sealing_loses_nothing(tmp_path: Path, moment: str) -> None:
    plain = abandon(tmp_path, 1, 0, 5)
    plain.write_text(plain.read_text() + "{")
    target, nth = MOMENTS[moment]
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), target, str(nth)], cwd=ROOT, check=False)
    assert crashed.returncode == -signal.SIGKILL
    assert_holds(tmp_path, 5)
    journal(tmp_path, 3).seal()
    assert names(tmp_path) == ["jsonl.zst"]
    assert not list(plain.parent.glob(".*"))
    assert_holds(tmp_path, 5)


def test_a_sealing_that_fails_leaves_the_plain_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    j = write(tmp_path, 1, 0, 3)
    monkeypatch.setattr("curator_sdg.teacher.journal.segment.sync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        j.seal()
    assert names(tmp_path) == ["jsonl"]
    assert_holds(tmp_path, 3)


SEAL = "import pathlib, sys; from tests.teacher.writer import journal; journal(pathlib.Path(sys.argv[1]), 9).seal()"


def test_sealers_and_readers_at_once_lose_nothing(tmp_path: Path) -> None:
    attempts, each = 60, 20
    for attempt in range(attempts):
        abandon(tmp_path, attempt, attempt * each, each)
    stop = threading.Event()

    def read() -> int:
        times = 0
        while not stop.is_set() or not times:
            assert_holds(tmp_path, attempts * each)
            times += 1
        return times

    with ThreadPoolExecutor(8) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        sealers = [threads.submit(journal(tmp_path, 9).seal) for _ in range(3)]
        command = [sys.executable, "-c", SEAL, str(tmp_path)]
        others = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
        try:
            for sealer in sealers:
                sealer.result(120)
            assert [other.wait(120) for other in others] == [0, 0]
        finally:
            stop.set()
        assert all(reader.result(120) for reader in readers)
    journal(tmp_path, 9).seal()
    assert names(tmp_path) == ["jsonl.zst"] * attempts
    assert_holds(tmp_path, attempts * each)


def test_a_writer_that_begins_while_others_seal_loses_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

    def seal_on() -> None:
        while not stop.is_set():
            journal(tmp_path, 9).seal()

    with ThreadPoolExecutor(2) as threads:
        sealers = [threads.submit(seal_on) for _ in range(2)]
        for attempt in range(100):
            with write(tmp_path, attempt, attempt, 1) as j:
                assert j.path.exists()
        stop.set()
        for sealer in sealers:
            sealer.result(120)
    assert_holds(tmp_path, 100)
