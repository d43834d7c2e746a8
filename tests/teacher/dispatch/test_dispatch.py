"""The dispatcher: one cap, one queue, one end for all callers."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.epoch import Epoch
from curator_sdg.errors import StoreError, Superseded, TeacherError
from curator_sdg.teacher import (
    Budget,
    Completion,
    Dispatcher,
    Failure,
    Outcome,
    Refusal,
    ShardJournal,
    acquire,
    make_teacher,
    release,
)
from tests.endpoint import running_endpoint
from tests.runs import wait_until
from tests.teacher.requests import MODEL, completions, config_for, make_request, make_requests
from tests.teacher.scripted import Scripted, settings


def journal(root: Path, shard: str = "shard-0", epoch: int = 1) -> ShardJournal:
    return ShardJournal(root, "generate", shard, epoch)


def test_outcomes_come_in_the_order_of_the_requests() -> None:
    requests = make_requests(50)
    outcomes: dict[str, Outcome | Exception] = {
        "seed-3": Failure(requests[3].key, "timeout", ""),
        "seed-7": Refusal(requests[7].key, 400, "too long"),
    }
    with Dispatcher(Scripted(outcomes), settings(4)) as dispatcher:
        got = dispatcher.complete(requests)
        progress = dispatcher.progress
    assert [outcome.key for outcome in got] == [request.key for request in requests]
    assert (type(got[3]), type(got[7])) == (Failure, Refusal)
    assert (progress.asked, progress.replies, progress.failures, progress.refusals) == (50, 48, 1, 1)
    assert (progress.queued, progress.in_flight) == (0, 0)


def test_nothing_to_ask_is_answered_at_once() -> None:
    with Dispatcher(Scripted(), settings(4)) as dispatcher:
        assert dispatcher.complete([]) == []


def test_equal_requests_are_asked_once() -> None:
    teacher = Scripted()
    with Dispatcher(teacher, settings(4)) as dispatcher:
        got = completions(dispatcher.complete([make_request(1), make_request(2), make_request(1)]))
    assert [c.text for c in got] == ["on seed-1", "on seed-2", "on seed-1"]
    assert sorted(teacher.asked) == ["seed-1", "seed-2"]


def test_replies_and_refusals_are_journalled_before_they_are_returned_failures_never(tmp_path: Path) -> None:
    requests = make_requests(4)
    outcomes: dict[str, Outcome | Exception] = {
        "seed-1": Failure(requests[1].key, "timeout", ""),
        "seed-2": Refusal(requests[2].key, 400, "too long"),
    }
    with Dispatcher(Scripted(outcomes), settings(1)) as dispatcher, journal(tmp_path) as j:
        dispatcher.complete(requests, j)
        other = journal(tmp_path, epoch=2)
    assert [other.get(request.key) is not None for request in requests] == [True, False, True, True]
    assert other.get(requests[2].key) == outcomes["seed-2"]


def test_refusals_before_any_reply_are_not_journalled_for_they_may_be_the_parameters_fault(tmp_path: Path) -> None:
    requests = make_requests(2)
    outcomes: dict[str, Outcome | Exception] = {"seed-0": Refusal(requests[0].key, 400, "no such parameter")}
    with Dispatcher(Scripted(outcomes), settings(1)) as dispatcher, journal(tmp_path) as j:
        dispatcher.complete(requests, j)
        other = journal(tmp_path, epoch=2)
    assert [other.get(request.key) is not None for request in requests] == [False, True]


def test_what_is_journalled_is_not_asked(tmp_path: Path) -> None:
    with Dispatcher(Scripted(), settings(4)) as dispatcher, journal(tmp_path) as j:
        first = dispatcher.complete(make_requests(10), j)
    teacher = Scripted()
    with Dispatcher(teacher, settings(4)) as dispatcher, journal(tmp_path, epoch=2) as j:
        assert dispatcher.complete(make_requests(12), j)[:10] == first
        assert dispatcher.progress.journalled == 10
    assert sorted(teacher.asked) == ["seed-10", "seed-11"]


def test_the_cap_holds_over_all_callers() -> None:
    with (
        running_endpoint(latency_s=0.02, sigma=0.6) as endpoint,
        Dispatcher(make_teacher(config_for(endpoint)), config_for(endpoint)) as dispatcher,
        ThreadPoolExecutor(5) as threads,
    ):
        batches = [make_requests(40, first=40 * i) for i in range(5)]
        for batch, outcomes in zip(batches, threads.map(dispatcher.complete, batches), strict=True):
            assert [c.key for c in completions(outcomes)] == [request.key for request in batch]
        stats = endpoint.stats()
    assert stats["max_in_flight"] == 8
    assert len(stats["asked"]) == 200
    assert set(stats["asked"].values()) == {1}


def test_a_caller_with_little_to_ask_is_not_held_up_by_slow_replies_of_another() -> None:
    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(2)) as dispatcher, ThreadPoolExecutor(2) as threads:
        slow = threads.submit(dispatcher.complete, make_requests(1))
        assert teacher.some_asked.wait(30)
        teacher.some_asked.clear()
        quick = threads.submit(dispatcher.complete, make_requests(1, first=1))
        assert teacher.some_asked.wait(30)
        teacher.held = False
        assert completions(quick.result(30))[0].text == "on seed-1"
        assert completions(slow.result(30))[0].text == "on seed-0"


def all_raise(kind: type[Exception], match: str, futures: list[Future[list[Outcome]]]) -> None:
    for future in futures:
        with pytest.raises(kind, match=match):
            future.result(30)


@pytest.mark.parametrize("error", [TeacherError("the key was revoked"), ZeroDivisionError("a bug")])
def test_an_error_of_the_teacher_ends_every_caller_and_asks_no_more(error: Exception) -> None:
    teacher = Scripted({"seed-0": error}, held=True)
    with Dispatcher(teacher, settings(3)) as dispatcher, ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(dispatcher.complete, make_requests(100, first=100 * i)) for i in range(3)]
        wait_until(lambda: dispatcher.progress.queued == 297 and len(teacher.asked) == 3)
        teacher.outcomes = dict.fromkeys(teacher.asked, error)
        teacher.held = False
        all_raise(type(error), str(error), futures)
        assert dispatcher.stopped
        with pytest.raises(type(error)):
            dispatcher.complete(make_requests(1))
    assert len(teacher.asked) == 3
    assert teacher.closed


def test_a_newer_start_stops_the_asking(tmp_path: Path) -> None:
    epoch = Epoch.start(tmp_path)
    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(3), epoch) as dispatcher, ThreadPoolExecutor(1) as threads:
        future = threads.submit(dispatcher.complete, make_requests(100))
        wait_until(lambda: len(teacher.asked) == 3)
        Epoch.start(tmp_path)
        teacher.held = False
        all_raise(Superseded, "has taken over", [future])
    assert len(teacher.asked) == 3


def test_a_reply_that_cannot_be_journalled_ends_every_caller(tmp_path: Path) -> None:
    (tmp_path / "generate").write_text("in the way")
    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(2)) as dispatcher, ThreadPoolExecutor(2) as threads:
        futures = [
            threads.submit(dispatcher.complete, make_requests(50), journal(tmp_path)),
            threads.submit(dispatcher.complete, make_requests(50, first=50)),
        ]
        wait_until(lambda: dispatcher.progress.queued == 98 and len(teacher.asked) == 2)
        teacher.held = False
        # The caller without a journal may be done by then; the one with it never is.
        with pytest.raises(StoreError, match="a file is in the way"):
            futures[0].result(30)
        futures[1].exception(30)


def test_closing_lets_every_caller_go() -> None:
    teacher = Scripted(held=True)
    dispatcher = Dispatcher(teacher, settings(2))
    dispatcher.open()
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(dispatcher.complete, make_requests(50, first=50 * i)) for i in range(2)]
        assert teacher.some_asked.wait(30)
        dispatcher.close()
        all_raise(TeacherError, "was closed", futures)
    dispatcher.close()
    assert teacher.closed
    with pytest.raises(TeacherError, match="was closed"):
        dispatcher.complete(make_requests(1))


def test_closing_does_not_wait_for_a_server_that_hangs() -> None:
    with running_endpoint(hang=1.0, fault_tries=-1) as endpoint, ThreadPoolExecutor(1) as threads:
        dispatcher = Dispatcher(make_teacher(config_for(endpoint)), config_for(endpoint))
        dispatcher.open()
        future = threads.submit(dispatcher.complete, make_requests(5))
        while not endpoint.stats()["asked"]:
            pass
        dispatcher.close()
        assert dispatcher.stopped
        all_raise(TeacherError, "was closed", [future])


def test_a_dispatcher_that_was_never_opened_says_so() -> None:
    dispatcher = Dispatcher(Scripted(), settings(2))
    with pytest.raises(TeacherError, match="before it was opened"):
        dispatcher.complete(make_requests(1))
    dispatcher.close()


def recorded(folder: Path) -> TeacherSection:
    with journal(folder) as j:
        for request in make_requests(3):
            j.append(Completion(request.key, "recorded", "stop"), request)
    return TeacherSection(engine="recorded", model=MODEL, recording=folder)


def test_stages_of_a_process_share_a_dispatcher_until_the_last_releases_it(tmp_path: Path) -> None:
    config = recorded(tmp_path)
    first, second = acquire(config), acquire(config.model_copy())
    assert first is second
    release(first)
    assert completions(second.complete(make_requests(3)))
    release(second)
    assert second.stopped
    release(second)
    third = acquire(config)
    assert third is not first
    release(third)


def test_other_settings_and_other_starts_have_dispatchers_of_their_own(tmp_path: Path) -> None:
    config = recorded(tmp_path / "recording")
    held = [
        acquire(config),
        acquire(config.model_copy(update={"max_in_flight": 3})),
        acquire(config, Epoch.start(tmp_path)),
        acquire(config, Epoch.start(tmp_path)),
        acquire(config, budget=Budget(max_tokens=10)),
        acquire(config, budget=Budget(max_tokens=11)),
    ]
    assert len(set(held)) == 6
    for dispatcher in held:
        release(dispatcher)
    assert all(dispatcher.stopped for dispatcher in held)


def test_one_that_stopped_for_an_error_is_replaced(tmp_path: Path) -> None:
    config = recorded(tmp_path)
    first = acquire(config)
    with pytest.raises(TeacherError, match="has no completion"):
        first.complete(make_requests(4))
    second = acquire(config)
    assert completions(second.complete(make_requests(3)))
    release(first)
    assert not second.stopped
    release(second)
    assert second.stopped


def test_a_teacher_that_cannot_be_used_is_not_kept(tmp_path: Path) -> None:
    config = TeacherSection(engine="recorded", model=MODEL, recording=tmp_path / "later")
    dispatcher = acquire(config)
    with pytest.raises(TeacherError, match="does not exist"):
        dispatcher.complete(make_requests(1))
    recorded(tmp_path / "later")
    another = acquire(config)
    assert completions(another.complete(make_requests(1)))
    release(dispatcher)
    release(another)


def test_what_the_journal_knows_needs_no_teacher(tmp_path: Path) -> None:
    dispatcher = acquire(recorded(tmp_path / "recording"))
    with journal(tmp_path / "kept") as kept:
        dispatcher.complete(make_requests(3), kept)
        release(dispatcher)
        gone = acquire(TeacherSection(engine="recorded", model=MODEL, recording=tmp_path / "gone"))
        assert completions(gone.complete(make_requests(3), kept))
        release(gone)
