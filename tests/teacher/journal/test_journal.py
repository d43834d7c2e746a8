"""The journal of replies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from curator_sdg.errors import StoreError
from curator_sdg.teacher import Completion, Request, ShardJournal, read_segment
from tests.teacher.requests import make_request


def reply(request: Request, text: str = "a text") -> Completion:
    return Completion(request.key, text, "stop", "a thought", "test-model", 10, None, 3)


def journal(root: Path, epoch: int = 1) -> ShardJournal:
    return ShardJournal(root, "generate", "shard-0", epoch)


def written(root: Path, *numbers: int, epoch: int = 1) -> Path:
    """Write a segment of replies and return its path."""
    with journal(root, epoch) as j:
        for number in numbers:
            j.append(reply(request := make_request(number), f"text {number}"), request)
        return j.path


@pytest.mark.parametrize("text", ["plain", "two\nlines\r\n", "\u2028 é 漢字 😀", "", "\ud800 lone", '"quoted" \\ \0'])
def test_a_reply_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    request = make_request(1)
    with journal(tmp_path) as j:
        j.append(reply(request, text), request)
        assert j.get(request.key) == reply(request, text)
    with journal(tmp_path, 2) as j:
        assert j.get(request.key) == reply(request, text)
        assert j.get(make_request(2).key) is None


def test_a_reply_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    request = make_request(1)
    with journal(tmp_path) as j:
        j.append(reply(request), request)
        entry = json.loads(j.path.read_text())
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "key": request.key,
        "record_id": "seed-1",
        "step": "generate",
        "sample": 0,
        "repair": 0,
        "asked": "test-model",
        "text": "a text",
        "finish_reason": "stop",
        "reasoning": "a thought",
        "model": "test-model",
        "prompt_tokens": 10,
        "cached_tokens": None,
        "completion_tokens": 3,
    }


def test_only_a_reply_that_was_asked_for_anew_says_so(tmp_path: Path) -> None:
    requests = [make_request(1), make_request(1, retry=1), make_request(1, retry=2)]
    assert len({request.key for request in requests}) == 3
    with journal(tmp_path) as j:
        for request in requests:
            j.append(reply(request), request)
        entries = [json.loads(line) for line in j.path.read_text().splitlines()]
    assert [entry.get("retry") for entry in entries] == [None, 1, 2]


def test_the_key_of_a_reply_that_was_never_set_aside_is_that_of_recordings() -> None:
    assert make_request(1).key == make_request(1, retry=0).key == "c5bed8760e88cd0278b6ffc2f899be84"


def test_an_attempt_that_asks_nothing_leaves_nothing(tmp_path: Path) -> None:
    with journal(tmp_path) as j:
        j.seal()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tail", ['{"key": "a', '{"key": "a", "text": "b", "finish_reason": "stop"}', "\0\0\0"])
def test_a_torn_last_line_is_passed_over(tmp_path: Path, tail: str) -> None:
    path = written(tmp_path, 1, 2)
    path.write_text(path.read_text() + tail)
    assert len(journal(tmp_path, 2)) == 2


@pytest.mark.parametrize(
    "line", ["{", "[]", "null", '{"key": "k"}', '{"key": "k", "text": null, "finish_reason": ""}', "\0"]
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, 1, 2, 3)
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = line + "\n"
    path.write_text("".join(lines))
    with pytest.raises(StoreError, match=rf"{path.name}, line 2: is no journalled reply"):
        journal(tmp_path, 2)


def test_two_attempts_alive_at_once_write_apart_and_the_earlier_one_wins(tmp_path: Path) -> None:
    request, other = make_request(1), make_request(2)
    first, second = journal(tmp_path, 9), journal(tmp_path, 10)
    second.append(reply(request, "late"), request)
    first.append(reply(request, "early"), request)
    third = journal(tmp_path, 11)  # while both are being written
    first.append(reply(other), other)
    assert third.get(request.key) == reply(request, "early")
    assert third.get(other.key) is None
    first.close()
    second.close()
    with journal(tmp_path, 12) as j:
        assert (len(j), j.get(request.key)) == (2, reply(request, "early"))


def test_a_sealed_segment_is_compressed_and_reads_the_same(tmp_path: Path) -> None:
    requests = [make_request(number) for number in range(500)]
    with journal(tmp_path) as j:
        for request in requests:
            j.append(reply(request, "many words " * 50), request)
        size = j.path.stat().st_size
        j.seal()
    [path] = j.folder.glob("*.jsonl*")
    assert path.name.endswith(".jsonl.zst")
    assert path.stat().st_size < size / 5
    assert [completion.key for completion in read_segment(path)] == [request.key for request in requests]
    assert len(journal(tmp_path, 2)) == 500


def test_a_crash_between_publishing_a_sealed_segment_and_removing_the_plain_one_is_harmless(tmp_path: Path) -> None:
    plain = written(tmp_path, 1)
    torn = plain.read_bytes() + b"{"
    with journal(tmp_path, 2) as j:
        j.append(reply(request := make_request(2)), request)
        kept = j.path.read_bytes()
        j.seal()
    (j.folder / j.path.name).write_bytes(kept)
    (j.folder / f".{plain.name}.zst.tmp").write_bytes(torn)  # and one in the middle of sealing
    assert len(journal(tmp_path, 3)) == 2


def test_a_segment_that_is_sealed_while_another_attempt_opens_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    j = journal(tmp_path)
    j.append(reply(request := make_request(1)), request)
    listing = [j.path]
    j.seal()
    monkeypatch.setattr("curator_sdg.teacher.journal.shard.segments", lambda folder: listing)
    assert journal(tmp_path, 2).get(request.key) == reply(request)


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_sealed_segment_that_was_cut_is_an_error(tmp_path: Path, cut: float) -> None:
    with journal(tmp_path) as j:
        for number in range(50):
            j.append(reply(request := make_request(number)), request)
        j.seal()
    [path] = j.folder.glob("*.jsonl*")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(StoreError, match=path.name):
        journal(tmp_path, 2)


def test_a_shard_reads_only_its_own_segments(tmp_path: Path) -> None:
    written(tmp_path, 1)
    (tmp_path / "generate" / "shard-1").mkdir()
    (tmp_path / "generate" / "shard-1" / "000001-1-x.jsonl").write_text("damaged\n")
    assert len(journal(tmp_path, 2)) == 1


def test_a_closed_journal_takes_no_more(tmp_path: Path) -> None:
    j = journal(tmp_path)
    j.close()
    j.close()
    with pytest.raises(StoreError, match="closed"):
        j.append(reply(request := make_request(1)), request)


def test_a_place_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "generate").write_text("")
    with pytest.raises(StoreError, match="a file is in the way"):
        journal(tmp_path).append(reply(request := make_request(1)), request)


FULL = """
import resource, sys
from pathlib import Path
from curator_sdg.errors import StoreError
from tests.teacher.requests import make_request
from tests.teacher.journal.test_journal import journal, reply

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # as a disk with so much room
j = journal(Path(sys.argv[1]))
kept = 0
try:
    for number in range(100):
        j.append(reply(request := make_request(number), "x" * 300), request)
        kept += 1
except StoreError as error:
    print(error, file=sys.stderr)
for number in range(100, 103):
    try:
        j.append(reply(request := make_request(number), "short"), request)
    except StoreError:
        continue
    raise AssertionError("the journal went on behind a torn line")
assert j.path.stat().st_size == 2000
assert not j.path.read_bytes().endswith(b"\\n")
j.seal()
print(kept)
"""


def test_a_write_that_stops_midway_loses_that_reply_only(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    kept = int(run.stdout)
    assert "run the same command again" in run.stderr
    assert len(journal(tmp_path, 2)) == kept > 0
