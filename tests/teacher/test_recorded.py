"""Replaying a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.errors import StoreError, TeacherError
from curator_sdg.teacher import Completion, Dispatcher, Request, ShardJournal, make_teacher
from tests.teacher.requests import MODEL, make_request, make_requests


def record(root: Path, requests: list[Request], *, shard: str = "shard-0", epoch: int = 1, seal: bool = False) -> Path:
    with ShardJournal(root, "generate", shard, epoch) as journal:
        for request in requests:
            journal.append(Completion(request.key, f"{shard} {epoch} {request.record_id}", "stop"), request)
        if seal:
            journal.seal()
    return next(path for path in journal.folder.iterdir() if path.name.startswith(f"{epoch:06d}"))


def replaying(recording: Path) -> Dispatcher:
    config = TeacherSection(engine="recorded", model=MODEL, recording=recording)
    return Dispatcher(make_teacher(config), config)


def texts(recording: Path, requests: list[Request]) -> list[str]:
    with replaying(recording) as dispatcher:
        outcomes = dispatcher.complete(requests)
    return [outcome.text for outcome in outcomes if isinstance(outcome, Completion)]


@pytest.mark.parametrize("seal", [False, True])
def test_a_file_is_replayed(tmp_path: Path, seal: bool) -> None:
    requests = make_requests(5)
    path = record(tmp_path, requests, seal=seal)
    assert texts(path, requests[::-1]) == [f"shard-0 1 seed-{number}" for number in (4, 3, 2, 1, 0)]


def test_a_folder_is_replayed_whole_and_the_first_of_two_replies_counts(tmp_path: Path) -> None:
    record(tmp_path, make_requests(3), epoch=1, seal=True)
    record(tmp_path, make_requests(3), epoch=2)
    record(tmp_path, make_requests(2, first=3), shard="shard-1")
    assert texts(tmp_path, make_requests(5)) == [
        *(f"shard-0 1 seed-{number}" for number in range(3)),
        *(f"shard-1 1 seed-{number}" for number in (3, 4)),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": ({"role": "user", "content": "Another prompt."},)},
        {"model": "another"},
        {"sampling": {"temperature": 0.1}},
        {"sample": 1},
        {"repair": 1},
        {"schema": None},
    ],
)
def test_a_request_that_was_not_recorded_is_named(tmp_path: Path, changes: dict[str, object]) -> None:
    record(tmp_path, make_requests(3))
    with (
        replaying(tmp_path) as dispatcher,
        pytest.raises(TeacherError, match=r"has no completion for generate of seed-1 sample .* record anew"),
    ):
        dispatcher.complete([make_request(1, **changes)])


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        replaying(tmp_path / "gone") as dispatcher,
        pytest.raises(TeacherError, match=r"teacher\.recording: .*gone does not exist"),
    ):
        dispatcher.complete(make_requests(1))
    (tmp_path / "empty").mkdir()
    with (
        replaying(tmp_path / "empty") as dispatcher,
        pytest.raises(TeacherError, match=r"teacher\.recording: .*empty holds no \.jsonl"),
    ):
        dispatcher.complete(make_requests(1))


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("nonsense\n")
    with replaying(tmp_path) as dispatcher, pytest.raises(StoreError, match=r"a\.jsonl, line 1"):
        dispatcher.complete(make_requests(1))
