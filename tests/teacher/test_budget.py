"""A run asks no more than it may, and loses nothing by it."""

from __future__ import annotations

import asyncio
import pickle
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curator_sdg.config import Price
from curator_sdg.errors import BudgetReached
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
    Teacher,
    Usage,
    acquire,
    journal_usage,
    release,
)
from curator_sdg.teacher.journal.usage import add_up, total
from tests.endpoint import running_endpoint
from tests.teacher import writer
from tests.teacher.requests import MODEL, completions, config_for, make_request, make_requests
from tests.teacher.scripted import Scripted, settings

PRICES = {MODEL: Price(prompt=1, completion=1)}


class Counting(Scripted):
    """Every reply takes 100 tokens, the first few may take more."""

    def __init__(self, *args: Any, first: int = 0, factor: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.large = {f"seed-{i}": factor for i in range(first)}
        self.at_once: list[int] = []  # requests in flight, as each one was asked
        self.in_flight = 0

    async def answer(self, request: Request) -> Outcome:
        self.in_flight += 1
        self.at_once.append(self.in_flight)
        try:
            await asyncio.sleep(0.001)
            return await super().answer(request)
        finally:
            self.in_flight -= 1

    def reply(self, request: Request) -> Outcome:
        n = self.large.get(request.record_id, 1)
        return Completion(request.key, f"on {request.record_id}", "stop", None, None, 60 * n, 10 * n, 40 * n)


def journal(root: Path, shard: str = "shard-0", epoch: int = 1) -> ShardJournal:
    return ShardJournal(root, "generate", shard, epoch)


def used(replies: int) -> Usage:
    return Usage(replies, 0, 60 * replies, 10 * replies, 40 * replies)


def limited(teacher: Teacher, at_once: int, budget: Budget, before: Usage | None = None) -> Dispatcher:
    """Return a dispatcher with so many requests at once, and a bill of its own."""
    return Dispatcher(teacher, settings(at_once), bill=Bill(budget, {MODEL: before} if before else None))


def wait_until(dispatcher: Dispatcher, **figures: int) -> None:
    deadline = time.monotonic() + 60
    while any(getattr(dispatcher.progress, name) != n for name, n in figures.items()):
        assert time.monotonic() < deadline, dispatcher.progress
        time.sleep(0.002)


@pytest.mark.parametrize("cap", [1, 8, 64])
@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(max_tokens=10_000), r"run\.max_tokens: 10,000 tokens of 10,000 are used; raise it and run the same"),
        (Budget(max_cost=0.01, prices=PRICES), r"run\.max_cost: 0\.01 of 0\.01 are spent; raise it and run the same"),
    ],
)
def test_as_much_is_asked_as_the_budget_has_room_for(budget: Budget, message: str, cap: int) -> None:
    teacher = Counting()
    with limited(teacher, cap, budget) as dispatcher, pytest.raises(BudgetReached, match=message):
        dispatcher.complete(make_requests(1000))
    assert len(teacher.asked) == 100


def test_when_replies_turn_out_smaller_as_many_are_in_flight_as_before() -> None:
    teacher = Counting(first=4, factor=150)
    with limited(teacher, 4, Budget(max_tokens=100_000)) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(200)))) == 200
    assert max(teacher.at_once[4:7]) < 4
    assert max(teacher.at_once[100:150]) == 4


def test_what_earlier_starts_have_spent_counts() -> None:
    teacher = Counting()
    with limited(teacher, 4, Budget(max_tokens=10_000), used(95)) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(3)))) == 3
        assert dispatcher.progress.spent == used(98)
        with pytest.raises(BudgetReached):
            dispatcher.complete(make_requests(10, first=3))
    assert len(teacher.asked) == 5


def test_a_budget_that_is_used_up_by_the_last_request_is_no_error() -> None:
    with limited(Counting(), 4, Budget(max_tokens=1000)) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(10)))) == 10


def test_refusals_and_failures_use_nothing() -> None:
    requests = make_requests(20)
    outcomes: dict[str, Outcome | Exception] = {f"seed-{i}": Refusal(requests[i].key, 400, "") for i in range(5)}
    outcomes |= {f"seed-{i}": Failure(requests[i].key, "timeout", "") for i in range(5, 10)}
    with limited(Counting(outcomes), 2, Budget(max_tokens=1000)) as dispatcher:
        assert len(dispatcher.complete(requests)) == 20
        assert dispatcher.progress.spent == used(10) + Usage(refusals=5)


class Slow(Counting):
    """The first reply comes when three more requests are in flight; these are held."""

    def __init__(self) -> None:
        super().__init__(held=True)

    async def answer(self, request: Request) -> Outcome:
        if self.asked:
            return await super().answer(request)
        self.asked.append(request.record_id)
        while len(self.asked) < 4:  # noqa: ASYNC110 - as short as any
            await asyncio.sleep(0.005)
        return self.reply(request)


def test_what_is_in_flight_is_waited_for_and_journalled(tmp_path: Path) -> None:
    teacher = Slow()
    with (
        limited(teacher, 4, Budget(max_tokens=100)) as dispatcher,
        ThreadPoolExecutor(3) as threads,
        journal(tmp_path) as first,
        journal(tmp_path, "shard-1") as second,
    ):
        # The first reply reaches the budget; three more are in flight by then, for there was no average to go by.
        early: Future[list[Outcome]] = threads.submit(dispatcher.complete, make_requests(50), first)
        wait_until(dispatcher, replies=1, in_flight=3, queued=0)
        late = threads.submit(dispatcher.complete, make_requests(50, first=50), second)
        assert not early.done()
        teacher.held = False
        for future in (early, late):
            with pytest.raises(BudgetReached):
                future.result(60)
        with pytest.raises(BudgetReached):  # at once from now on
            dispatcher.complete(make_requests(1, first=100))
        assert dispatcher.progress.spent == used(4)
    assert len(teacher.asked) == 4
    assert len(journal(tmp_path)) == 4
    assert journal_usage(tmp_path) == {"generate": {MODEL: used(4)}}


def test_a_caller_whose_requests_are_all_in_flight_gets_its_replies() -> None:
    teacher = Slow()
    with limited(teacher, 4, Budget(max_tokens=100)) as dispatcher, ThreadPoolExecutor(2) as threads:
        lucky = threads.submit(dispatcher.complete, make_requests(4))
        wait_until(dispatcher, replies=1, in_flight=3)
        other = threads.submit(dispatcher.complete, make_requests(1, first=4))  # sees that the budget is reached
        teacher.held = False
        assert len(completions(lucky.result(60))) == 4
        with pytest.raises(BudgetReached):
            other.result(60)


def test_what_is_in_the_journal_is_still_answered(tmp_path: Path) -> None:
    teacher = Counting()
    with limited(teacher, 1, Budget(max_tokens=300)) as dispatcher, journal(tmp_path) as j:
        with pytest.raises(BudgetReached):
            dispatcher.complete(make_requests(10), j)
        assert len(completions(dispatcher.complete(make_requests(3), j))) == 3
        with pytest.raises(BudgetReached):
            dispatcher.complete(make_requests(4), j)
    assert len(teacher.asked) == 3


def test_once_the_budget_is_raised_nothing_is_asked_twice(tmp_path: Path) -> None:
    asked: list[str] = []
    for start, limit in enumerate([2_000, 2_000, 4_500, 100_000], start=1):
        teacher = Counting()
        spent = total(add_up(journal_usage(tmp_path).values()))
        budget = Budget(max_tokens=limit)
        with (
            limited(teacher, 8, budget, spent) as dispatcher,
            journal(tmp_path, epoch=start) as j,
        ):
            if start < 4:
                with pytest.raises(BudgetReached):
                    dispatcher.complete(make_requests(100), j)
            else:
                assert len(completions(dispatcher.complete(make_requests(100), j))) == 100
                j.seal()
        asked += teacher.asked
        assert len(asked) == [20, 20, 45, 100][start - 1]
    assert len(set(asked)) == 100
    assert journal_usage(tmp_path) == {"generate": {MODEL: used(100)}}


def test_time_that_is_up_ends_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Counting(held=True)
    now = 1e9
    monkeypatch.setattr("time.time", lambda: now)
    with (
        limited(teacher, 2, Budget(ends_at=1e9 + 3600)) as dispatcher,
        ThreadPoolExecutor(1) as threads,
    ):
        future = threads.submit(dispatcher.complete, make_requests(100))
        wait_until(dispatcher, in_flight=2)
        now += 3600
        teacher.held = False
        message = r"run\.max_hours: the time of this start was over at 2001-09-09 02:46:40 UTC; raise it"
        with pytest.raises(BudgetReached, match=message):
            future.result(60)
    assert len(teacher.asked) == 2


@pytest.mark.parametrize(
    ("budget", "keys"),
    [
        (Budget(max_tokens=10**9), "run.max_tokens"),
        (Budget(max_cost=10**9, prices=PRICES), "run.max_cost"),
        (Budget(max_tokens=1, max_cost=10**9, prices=PRICES), "run.max_tokens and run.max_cost"),
    ],
)
def test_a_budget_that_cannot_be_kept_for_want_of_counts_is_said_at_once(budget: Budget, keys: str) -> None:
    teacher = Scripted()
    message = f"{keys}: cannot be kept, for 1 of 1 replies came without token counts; set run.max_hours instead"
    with limited(teacher, 1, budget) as dispatcher, pytest.raises(BudgetReached, match=message):
        dispatcher.complete(make_requests(100))
    assert len(teacher.asked) == 1


def test_without_counts_the_time_can_still_be_kept() -> None:
    budget = Budget(ends_at=time.time() + 3600, prices=PRICES)
    with limited(Scripted(), 2, budget) as dispatcher:
        assert len(completions(dispatcher.complete(make_requests(20)))) == 20


def test_a_cost_without_a_price_is_said() -> None:
    used = {"small": Usage(1, 0, 10, 0, 10), "large": Usage(1, 0, 10, 0, 10), "gone": Usage(refusals=1)}
    budget = Budget(max_cost=1, prices={"small": PRICES[MODEL], "large": None})
    assert (budget.reached(used, 0) or "").startswith("run.max_cost: cannot be kept, for it is not known what 'large'")
    assert budget.reached({"small": used["small"], "gone": used["gone"]}, 0) is None


def test_a_budget_travels_to_workers() -> None:
    budget = Budget(10, 1.5, 1e9, PRICES)
    assert pickle.loads(pickle.dumps(budget)) == budget
    assert hash(pickle.loads(pickle.dumps(budget))) == hash(budget)


def test_a_teacher_worker_that_follows_a_killed_one_knows_what_was_spent(tmp_path: Path) -> None:
    with writer.start(tmp_path, 1, 0, 5) as killed:
        killed.send_signal(signal.SIGKILL)
    spent = total(add_up(journal_usage(tmp_path).values()))
    with running_endpoint() as endpoint:
        config = config_for(endpoint)
        dispatcher = acquire(config, budget=Budget(max_tokens=spent.tokens), journal=tmp_path)
        try:
            assert dispatcher.progress.spent == spent == Usage(5, prompt_tokens=50, completion_tokens=15)
            with writer.journal(tmp_path, 2) as j:
                assert len(completions(dispatcher.complete(make_requests(5), j))) == 5
                with pytest.raises(BudgetReached, match="65 tokens of 65"):
                    dispatcher.complete(make_requests(6), j)
        finally:
            release(dispatcher)
        assert not endpoint.stats()["asked"]
        dispatcher = acquire(config, budget=Budget(max_tokens=spent.tokens + 1), journal=tmp_path)
        try:
            assert completions(dispatcher.complete([make_request(5)]))
            assert dispatcher.progress.spent.replies == 6
        finally:
            release(dispatcher)
