"""What the dispatcher does when things go wrong: retries, rests, rates, and when it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curator_sdg.epoch import Epoch
from curator_sdg.errors import AskingEnded, BudgetReached, Superseded, TeacherFailing
from curator_sdg.teacher import (
    Bill,
    Budget,
    Completion,
    Dispatcher,
    Failure,
    Outcome,
    Refusal,
    Request,
    ShardJournal,
    make_teacher,
)
from curator_sdg.teacher.base import Answer, Trouble
from curator_sdg.teacher.dispatch.places import Place
from curator_sdg.teacher.dispatch.sender import Sender
from tests.endpoint import running_endpoint
from tests.runs import wait_until
from tests.teacher.requests import completions, config_for, make_request, make_requests
from tests.teacher.scripted import Scripted, settings

ERROR = Trouble("server_error", "HTTP 500: no")
QUOTA = Trouble("rate_limit", "HTTP 429: quota", overload=True)

Behaviour = Callable[[Request, int, Place], Trouble | None]


class Troubled(Scripted):
    """Asks ``behaves`` for the trouble of each try: of a request, the number of its tries before, and the place."""

    def __init__(self, behaves: Behaviour, places: Sequence[str] = ("somewhere",)) -> None:
        super().__init__(places=places)
        self.behaves = behaves
        self.tries: list[tuple[str, str]] = []  # record and place, in the order asked

    async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
        record = requests[0].record_id
        before = sum(1 for name, _ in self.tries if name == record)
        self.tries.append((record, place.name))
        await asyncio.sleep(0)
        return self.behaves(requests[0], before, place) or [self.reply(request) for request in requests]


def test_a_request_that_waits_for_its_retry_holds_no_slot() -> None:
    # The server asks for ten minutes; with one slot, all others are answered meanwhile.
    trouble = ERROR._replace(retry_after=600.0)
    teacher = Troubled(lambda request, before, place: trouble if request.record_id == "seed-0" else None)
    with Dispatcher(teacher, settings(1, max_retries=3)) as dispatcher, ThreadPoolExecutor(2) as threads:
        waits = threads.submit(dispatcher.complete, make_requests(5))
        others = threads.submit(dispatcher.complete, make_requests(5, first=5))
        assert len(completions(others.result(30))) == 5
        wait_until(lambda: dispatcher.progress.replies == 9)
        status = dispatcher.progress
        assert (status.waiting, status.queued, status.in_flight, status.asked) == (1, 1, 0, 10)
        assert not waits.done()
        dispatcher.close()
        assert waits.exception(30)
    assert len(teacher.tries) == 10


def test_a_retry_that_is_due_goes_before_fresh_requests() -> None:
    teacher = Troubled(lambda request, before, place: ERROR if request.record_id == "seed-0" and not before else None)
    with Dispatcher(teacher, settings(1, max_retries=1), backoff_s=0.0) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(4)))) == 4
    assert [record for record, _ in teacher.tries] == ["seed-0", "seed-0", "seed-1", "seed-2", "seed-3"]


def test_a_retry_that_goes_out_at_once_is_counted_as_any_other_request() -> None:
    bill = Bill()
    teacher = Troubled(lambda request, before, place: None if before else ERROR)
    with Dispatcher(teacher, settings(2, max_retries=1), bill=bill, backoff_s=0.0) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(40)))) == 40
        assert (bill.spent.replies, dispatcher.progress.in_flight) == (40, 0)


def test_rate_limits_use_up_no_retry() -> None:
    teacher = Troubled(lambda request, before, place: QUOTA if before < 6 else None)
    with Dispatcher(teacher, settings(2, max_retries=0), backoff_s=0.00005) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(3)))) == 3
        assert dispatcher.progress.failures == 0
    assert len(teacher.tries) == 21


def test_of_other_troubles_as_many_are_tried_again_as_configured() -> None:
    teacher = Troubled(lambda request, before, place: QUOTA if before == 1 else ERROR)
    with Dispatcher(teacher, settings(2, max_retries=2), backoff_s=0.0001) as dispatcher:
        [outcome] = dispatcher.complete(make_requests(1))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.detail) == ("server_error", "HTTP 500: no (tried 3 times)")
    assert len(teacher.tries) == 4


def test_while_all_places_rest_requests_wait_and_use_up_no_retries() -> None:
    teacher = Troubled(lambda request, before, place: Trouble("connection", "refused"), ("one", "two"))
    with (
        ThreadPoolExecutor(1) as threads,
        Dispatcher(teacher, settings(10, max_retries=3), backoff_s=60.0) as dispatcher,
    ):
        future = threads.submit(dispatcher.complete, make_requests(100))
        wait_until(lambda: dispatcher.progress.resting == 2 and not dispatcher.progress.in_flight)
        status = dispatcher.progress
        dispatcher.close()
        assert future.exception(30)
    assert status.asked == status.waiting == len(teacher.tries) < 20
    assert (status.queued, status.failures) == (100, 0)
    assert len({record for record, _ in teacher.tries}) == len(teacher.tries)


def test_one_request_at_a_time_finds_out_whether_a_place_is_back() -> None:
    at_once: list[int] = []

    class Down(Troubled):
        async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
            at_once.append(place.in_flight)
            return await super().ask(requests, place)

    teacher = Down(lambda request, before, place: ERROR if len(at_once) <= 12 else None)
    with Dispatcher(teacher, settings(4, max_retries=20), backoff_s=0.001) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(30)))) == 30
    assert set(at_once[8:13]) == {1}, "after five troubles, and those that were in flight then"
    assert max(at_once[13:]) > 1


def test_a_sick_place_takes_nothing_from_the_others() -> None:
    teacher = Troubled(lambda request, before, place: ERROR if place.name == "sick" else None, ("sick", "well"))
    with Dispatcher(teacher, settings(8, max_retries=3), backoff_s=0.001) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(500)))) == 500
    asked = [place for _, place in teacher.tries]
    assert asked.count("well") == 500
    assert asked.count("sick") < 100


def test_too_many_failures_end_the_asking_with_what_is_whole_kept(tmp_path: Path) -> None:
    teacher = Troubled(lambda request, before, place: ERROR if int(request.record_id[5:]) % 10 < 6 else None)
    with (
        Dispatcher(teacher, settings(4, max_failure_share=0.5), backoff_s=0.001) as dispatcher,
        ShardJournal(tmp_path, "generate", "shard-0", 1) as journal,
    ):
        with pytest.raises(TeacherFailing) as ended:
            dispatcher.complete(make_requests(1000), journal)
        asked = len(teacher.tries)
        assert 100 <= asked < 110
        assert len(journal) == dispatcher.progress.replies
        with pytest.raises(AskingEnded):
            dispatcher.complete(make_requests(1, first=2000), journal)
        assert dispatcher.progress.in_flight == 0
    assert len(teacher.tries) == asked
    message = str(ended.value)
    assert "of the last 100 requests failed with all their retries" in message
    assert "server_error: HTTP 500: no (tried once)" in message
    assert "run the same command again" in message


def test_as_many_failures_as_are_fine_end_nothing() -> None:
    teacher = Troubled(lambda request, before, place: ERROR if int(request.record_id[5:]) % 10 < 4 else None)
    with Dispatcher(teacher, settings(1, max_failure_share=0.5), backoff_s=0.0001) as dispatcher:
        outcomes = dispatcher.complete(make_requests(500))
    assert sum(isinstance(outcome, Failure) for outcome in outcomes) == 200


def test_without_a_reply_for_too_long_the_asking_ends_quoting_the_last_trouble() -> None:
    teacher = Troubled(lambda request, before, place: QUOTA)
    with Dispatcher(teacher, settings(2, patience_s=0.2), backoff_s=0.01) as dispatcher, ThreadPoolExecutor(2) as two:
        futures = [two.submit(dispatcher.complete, make_requests(5, first=5 * i)) for i in range(2)]
        for future in futures:
            with pytest.raises(TeacherFailing, match=r"no reply has come for 0\.2 s .*rate_limit: HTTP 429: quota"):
                future.result(30)
        assert (dispatcher.progress.failures, dispatcher.progress.queued) == (0, 0)


def test_what_is_in_flight_when_the_asking_ends_is_waited_for_and_kept(tmp_path: Path) -> None:
    release = threading.Event()

    class Half(Troubled):
        async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
            while requests[0].record_id == "seed-0" and not release.is_set():  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(0.005)
            return await super().ask(requests, place)

    teacher = Half(lambda request, before, place: None if request.record_id == "seed-0" else QUOTA)
    with (
        Dispatcher(teacher, settings(2, patience_s=0.1), backoff_s=0.01) as dispatcher,
        ThreadPoolExecutor(1) as threads,
        ShardJournal(tmp_path, "generate", "shard-0", 1) as journal,
    ):
        future = threads.submit(dispatcher.complete, make_requests(5), journal)
        wait_until(lambda: dispatcher.progress.queued == 0 and dispatcher.progress.in_flight == 1)
        assert not future.done()
        release.set()
        with pytest.raises(TeacherFailing):
            future.result(30)
        assert journal.get(make_request(0).key)


def test_a_reply_restores_patience() -> None:
    class Slow(Troubled):
        async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
            if self.tries:
                await asyncio.sleep(0.15)
            return await super().ask(requests, place)

    teacher = Slow(lambda request, before, place: QUOTA if len(teacher.tries) == 1 else None)
    with Dispatcher(teacher, settings(1, patience_s=1.0), backoff_s=0.001) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(8)))) == 8  # takes longer than a second


def test_time_in_which_nothing_is_wanted_tries_no_patience() -> None:
    teacher = Troubled(lambda request, before, place: ERROR if request.record_id == "seed-0" else None)
    with Dispatcher(teacher, settings(1, patience_s=0.1), backoff_s=0.001) as dispatcher:
        assert isinstance(dispatcher.complete(make_requests(1))[0], Failure)
        time.sleep(0.2)
        assert completions(dispatcher.complete(make_requests(3, first=1)))


def test_while_all_slots_are_taken_patience_that_is_over_makes_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []  # so many by the time a slow reply begins, and ends
    look = Sender.look
    total = 0

    def counted(sender: Sender) -> None:
        nonlocal total
        total += 1
        look(sender)

    class Slow(Troubled):
        async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
            if self.tries:
                looks.append(total)
                await asyncio.sleep(0.2)
                looks.append(total)
            return await super().ask(requests, place)

    monkeypatch.setattr(Sender, "look", counted)
    teacher = Slow(lambda request, before, place: ERROR if len(teacher.tries) == 1 else None)
    with Dispatcher(teacher, settings(1, patience_s=0.05, max_retries=1), backoff_s=0.001) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(3)))) == 3
    assert max(after - before for before, after in zip(looks[::2], looks[1::2], strict=True)) < 5


def test_a_newer_start_is_seen_also_while_nothing_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_sdg.teacher.dispatch.sender._LOOK_EVERY_S", 0.02)
    epoch = Epoch.start(tmp_path)
    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(2), epoch) as dispatcher:
        future = dispatcher.submit(make_requests(2))
        wait_until(lambda: len(teacher.asked) == 2)
        Epoch.start(tmp_path)
        with pytest.raises(Superseded):
            future.result(30)


def test_a_newer_start_is_seen_also_while_nothing_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator_sdg.teacher.dispatch.sender._LOOK_EVERY_S", 0.02)
    epoch = Epoch.start(tmp_path)
    teacher = Troubled(lambda request, before, place: QUOTA)
    with Dispatcher(teacher, settings(1), epoch, backoff_s=600.0) as dispatcher:
        future = dispatcher.submit(make_requests(9))
        wait_until(lambda: dispatcher.progress.resting == 1)
        Epoch.start(tmp_path)
        with pytest.raises(Superseded):
            future.result(30)


def test_without_any_place_it_waits_as_long_as_patience_lasts() -> None:
    with (
        Dispatcher(Scripted(places=()), settings(2, patience_s=0.1)) as dispatcher,
        pytest.raises(TeacherFailing, match="there is no place where it could be asked"),
    ):
        dispatcher.complete(make_requests(3))


def test_requests_go_out_no_faster_than_their_rate() -> None:
    times: list[float] = []

    class Timed(Scripted):
        async def answer(self, request: Request) -> Outcome:
            times.append(time.monotonic())
            return await super().answer(request)

    with Dispatcher(Timed(), settings(50, requests_per_minute=3000)) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(100)))) == 100
    # 50 go out at once, the 50 others one every 20 ms; a clock that is read later never makes it faster.
    assert times[-1] - times[0] >= 0.9


def test_tokens_are_estimated_first_and_counted_afterwards() -> None:
    class Large(Scripted):
        def reply(self, request: Request) -> Outcome:
            return Completion(request.key, "", "stop", prompt_tokens=1000, completion_tokens=1000)

    # 2,000 tokens a second: of each request about 80 are expected, then 2,000 counted.
    with Dispatcher(Large(), settings(1, tokens_per_minute=120_000)) as dispatcher:
        begun = time.monotonic()
        assert len(completions(dispatcher.complete(make_requests(3)))) == 3
    assert time.monotonic() - begun >= 0.9


def test_who_cancels_is_asked_for_no_more_and_holds_up_nobody() -> None:
    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(2)) as dispatcher:
        unwanted = dispatcher.submit(make_requests(10))
        wait_until(lambda: len(teacher.asked) == 2)
        assert unwanted.cancel()
        wanted = dispatcher.submit(make_requests(3, first=10))
        teacher.held = False
        assert len(completions(wanted.result(30))) == 3
        assert (dispatcher.progress.queued, dispatcher.progress.in_flight) == (0, 0)
    assert len(teacher.asked) == 5


def test_what_is_known_is_there_at_once(tmp_path: Path) -> None:
    with (
        Dispatcher(Scripted(), settings(2)) as dispatcher,
        ShardJournal(tmp_path, "generate", "shard-0", 1) as journal,
    ):
        outcomes = dispatcher.complete(make_requests(2), journal)
        again = dispatcher.submit([*make_requests(2), make_request(0)], journal)
        assert again.done()
        assert again.result() == [*outcomes, outcomes[0]]


def test_two_dispatchers_with_one_bill_stop_together() -> None:
    class Paid(Scripted):
        def reply(self, request: Request) -> Outcome:
            return Completion(request.key, "", "stop", prompt_tokens=60, completion_tokens=40)

    bill = Bill(Budget(max_tokens=2000))
    with (
        Dispatcher(Paid(), settings(2), bill=bill) as one,
        Dispatcher(Paid(), settings(2), bill=bill) as two,
        ThreadPoolExecutor(2) as threads,
    ):
        futures = [threads.submit(one.complete, make_requests(100)), threads.submit(two.complete, make_requests(100))]
        for future in futures:
            with pytest.raises(BudgetReached):
                future.result(30)
        assert 2000 <= bill.spent.tokens <= 2400
        assert one.progress.spent == two.progress.spent == bill.spent


def test_a_teacher_that_fails_ends_no_other_before_its_replies_are_kept(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class OnASlowDisk(ShardJournal):
        def append(self, reply: Completion | Refusal, request: Request) -> None:
            begun.set()
            assert go_on.wait(30)
            super().append(reply, request)

    bill = Bill()
    failing = Troubled(lambda request, before, place: QUOTA)
    with (
        Dispatcher(Scripted(), settings(2), bill=bill) as one,
        Dispatcher(failing, settings(2, patience_s=0.01), bill=bill, backoff_s=0.01) as two,
        OnASlowDisk(tmp_path, "generate", "shard-0", 1) as journal,
    ):
        kept = one.submit(make_requests(1), journal)
        assert begun.wait(30)
        failed = two.submit(make_requests(3, first=1))
        wait_until(lambda: bill.ended is not None and two.progress.in_flight == 0)
        assert not bill.over
        assert not failed.done()
        go_on.set()
        with pytest.raises(TeacherFailing):
            failed.result(30)
        assert completions(kept.result(30))
        assert journal.get(make_request(0).key)


def test_what_is_dropped_before_it_went_out_is_in_flight_no_more() -> None:
    class Broken(Bill):
        looks = 0

        def nearly(self, now: float) -> bool:
            self.looks += 1
            if self.looks == 3:  # once before the teacher was opened
                raise ZeroDivisionError  # right after the first request was put on its way
            return False

    bill, teacher = Broken(), Scripted()
    with Dispatcher(teacher, settings(4), bill=bill) as dispatcher, pytest.raises(ZeroDivisionError):
        dispatcher.complete(make_requests(3))
    assert not teacher.asked
    assert dispatcher.progress.in_flight == 0
    bill.end(BudgetReached(""))
    assert bill.over


def test_a_caller_that_gives_up_while_its_reply_is_kept_ends_nobody_else(tmp_path: Path) -> None:
    class GivingUp(ShardJournal):
        def append(self, reply: Completion | Refusal, request: Request) -> None:
            given_up.cancel()
            self.close()
            super().append(reply, request)

    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(1)) as dispatcher:
        given_up = dispatcher.submit(make_requests(2), GivingUp(tmp_path, "generate", "shard-0", 1))
        wait_until(lambda: teacher.asked == ["seed-0"])
        other = dispatcher.submit(make_requests(2, first=2))
        teacher.held = False
        assert len(completions(other.result(30))) == 2
    assert teacher.asked == ["seed-0", "seed-2", "seed-3"]


@pytest.mark.parametrize("most", [0, 2])
def test_samples_of_one_prompt_cost_its_tokens_once(tmp_path: Path, most: int) -> None:
    votes = [make_request(record, sample=sample) for record in range(4) for sample in range(5)]
    with (
        running_endpoint(most_choices=most) as endpoint,
        ShardJournal(tmp_path, "generate", "shard-0", 1) as journal,
    ):
        config = config_for(endpoint, samples_per_request=5)
        with Dispatcher(make_teacher(config), config) as dispatcher:
            replies = completions(dispatcher.complete(votes, journal))
            status = dispatcher.progress
        asked = sum(endpoint.stats()["asked"].values())
    assert [reply.key for reply in replies] == [vote.key for vote in votes]
    assert len({reply.text for reply in replies[:5]}) == 5
    # With two choices at most, two come together and the other three singly.
    assert asked == (4 if most == 0 else 16)
    assert (status.asked, status.replies, status.in_flight, status.queued) == (20, 20, 0, 0)
    assert status.prompt_tokens == 6 * asked
    with ShardJournal(tmp_path, "generate", "shard-0", 2) as again:
        assert [again.get(vote.key) for vote in votes] == replies


def test_samples_that_fail_together_are_as_many_failures() -> None:
    teacher = Troubled(lambda request, before, place: ERROR)
    with Dispatcher(teacher, settings(2, samples_per_request=3)) as dispatcher:
        outcomes = dispatcher.complete([make_request(1, sample=i) for i in range(3)])
        assert dispatcher.progress.failures == 3
    assert all(isinstance(outcome, Failure) for outcome in outcomes)
    assert len(teacher.tries) == 1
