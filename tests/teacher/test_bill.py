"""Several dispatchers, one bill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from curator_sdg.config import Price
from curator_sdg.errors import BudgetReached
from curator_sdg.teacher import (
    Bill,
    Budget,
    Completion,
    Dispatcher,
    Failure,
    Refusal,
    ShardJournal,
    Usage,
    acquire,
    journal_usage,
    release,
)
from curator_sdg.teacher.journal.usage import add_up, cost_of, total
from tests.endpoint import running_endpoint
from tests.teacher.requests import MODEL, completions, config_for, make_request, make_requests

ONE = Usage(1, 0, 60, 10, 40)
PRICES = {"large": Price(prompt=2, completion=4), "small": Price(prompt=1, completion=1)}


def reply(prompt: int | None = 60, completion: int | None = 40) -> Completion:
    return Completion("key", "a text", "stop", None, None, prompt, 10, completion)


def used(n: int) -> Usage:
    return sum([ONE] * n, Usage())


def test_what_settles_is_summed_over_models_on_top_of_earlier_starts() -> None:
    bill = Bill(Budget(prices=PRICES), {"large": used(3)})
    for model, outcomes in (
        ("large", [reply()]),
        ("small", [reply(), reply()]),  # one request may ask for several samples
        ("small", [Failure("key", "timeout", "")]),
        ("small", [Refusal("key", 400, "")]),
        ("large", []),
    ):
        bill.sent(model)
        bill.settled(model, outcomes)
    assert bill.spent == used(6) + Usage(refusals=1)
    assert bill.cost == pytest.approx((4 * (60 * 2 + 40 * 4) + 2 * 100) / 1e6)


@pytest.mark.parametrize("outcome", [reply(None), reply(60, None)])
def test_a_cost_that_is_not_known_is_null(outcome: Completion) -> None:
    bill = Bill(Budget(prices=PRICES))
    bill.sent("small")
    bill.settled("small", [outcome])
    assert bill.cost is None
    assert bill.spent.uncounted == 1


def test_a_cost_is_null_from_the_first_request_to_a_model_without_a_price() -> None:
    bill = Bill(Budget(prices={**PRICES, "free": None}))
    assert bill.cost == 0
    bill.sent("small")
    assert bill.cost == 0
    bill.sent("free")
    assert bill.cost is None


def test_what_is_in_flight_counts_as_replies_of_its_models_average() -> None:
    bill = Bill(Budget(max_tokens=1000), {"large": Usage(1, 0, 300, 0, 100), "small": used(2)})  # 600 so far
    bill.sent("small")
    bill.sent("small")
    bill.sent("small")
    assert not bill.nearly(0)
    bill.sent("large")
    assert bill.nearly(0)
    assert bill.reached(0) is None
    bill.settled("large", [])
    assert not bill.nearly(0)


def test_a_model_without_a_reply_has_no_average() -> None:
    bill = Bill(Budget(max_tokens=101), {"large": used(1)})
    for _ in range(1000):
        bill.sent("small")
    assert not bill.nearly(0)


def test_with_nothing_in_flight_there_is_nothing_to_wait_for() -> None:
    assert not Bill(Budget(max_tokens=1), {"small": used(1)}).nearly(0)


def test_a_limit_counts_over_all_models() -> None:
    bill = Bill(Budget(max_cost=0.001, prices=PRICES), {"large": used(2)})
    assert bill.reached(0) is None
    bill.sent("small")
    bill.settled("small", [reply()] * 5)
    assert (bill.reached(0) or "").startswith("run.max_cost: 0.00106 of 0.001 are spent; raise it")


def test_who_waits_is_woken_once_when_something_settles_anywhere() -> None:
    bill = Bill(Budget(max_tokens=250), {"small": used(2)})
    woken: list[str] = []

    def wake() -> None:
        woken.append("here")

    bill.listen(wake)
    bill.sent("small")
    bill.settled("small", [Failure("key", "timeout", "")])
    assert not woken, "nobody was told to wait"
    bill.sent("small")
    assert bill.nearly(0)
    bill.settled("small", [])
    assert woken == ["here"]
    bill.sent("small")
    assert bill.nearly(0)
    bill.forget(wake)
    bill.forget(wake)
    bill.settled("small", [])
    assert woken == ["here"]


def test_figures_from_many_threads_add_up() -> None:
    bill = Bill(Budget(max_tokens=10**9, prices=PRICES))

    def work(model: str) -> None:
        for _ in range(2_000):
            bill.sent(model)
            assert bill.reached(0) is None
            assert not bill.nearly(0)
            bill.settled(model, [reply()])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, ["large", "small"] * 4))
    assert bill.spent == Usage(16_000, 0, 960_000, 160_000, 640_000)
    assert bill.cost == pytest.approx(8_000 * (280 + 100) / 1e6)


# ---- through dispatchers


@contextmanager
def two_teachers(journal: Path, budget: Budget) -> Iterator[tuple[Dispatcher, Dispatcher]]:
    """Yield dispatchers for two models of one run, both served by real endpoints."""
    with ExitStack() as stack:
        found = []
        for model in ("large", "small"):
            endpoint = stack.enter_context(running_endpoint(model=model))
            dispatcher = acquire(config_for(endpoint, model=model), budget=budget, journal=journal)
            stack.callback(release, dispatcher)
            found.append(dispatcher)
        yield found[0], found[1]


def test_a_budget_is_one_for_all_teachers_of_a_run(tmp_path: Path) -> None:
    requests = {m: [make_request(n, model=m) for n in range(200)] for m in ("large", "small")}
    budget = Budget(max_cost=0.005, prices=PRICES)
    with (
        two_teachers(tmp_path, budget) as (large, small),
        ShardJournal(tmp_path, "generate", "shard-0", 1) as j,
        ShardJournal(tmp_path, "enrich", "shard-0", 1) as k,
    ):
        assert completions(large.complete(requests["large"][:5], j))
        assert large.progress.cost == small.progress.cost > 0
        with pytest.raises(BudgetReached, match=r"run\.max_cost: 0\.005"):
            small.complete(requests["small"], k)
        with pytest.raises(BudgetReached, match=r"run\.max_cost: 0\.005"):
            large.complete(requests["large"], j)
        cost = small.progress.cost
        spent = small.progress.spent
    usage = journal_usage(tmp_path)
    assert usage.keys() == {"generate", "enrich"}
    assert usage["generate"].keys() == {"large"}
    assert usage["generate"]["large"].replies == 5, "what the other teacher spent ends this one, too"
    assert total(add_up(usage.values())) == spent
    assert cost == pytest.approx(cost_of(add_up(usage.values()), PRICES))
    assert cost == pytest.approx(0.005, rel=0.1)


def test_teachers_that_are_asked_at_once_keep_one_budget_and_none_waits_for_ever(tmp_path: Path) -> None:
    requests = {m: [make_request(n, model=m) for n in range(400)] for m in ("large", "small")}
    budget = Budget(max_tokens=20_000)
    with two_teachers(tmp_path, budget) as dispatchers, ThreadPoolExecutor(2) as threads, ExitStack() as stack:
        journals = [stack.enter_context(ShardJournal(tmp_path, step, "a", 1)) for step in ("generate", "enrich")]
        futures = [
            threads.submit(dispatcher.complete, requests[model], j)
            for dispatcher, model, j in zip(dispatchers, requests, journals, strict=True)
        ]
        for future in futures:
            with pytest.raises(BudgetReached, match=r"run\.max_tokens: 20,"):
                future.result(120)
        spent = dispatchers[0].progress.spent
    usage = journal_usage(tmp_path)
    assert usage.keys() == {"generate", "enrich"}
    assert total(add_up(usage.values())) == spent
    each = spent.tokens / spent.replies
    assert 20_000 <= spent.tokens < 20_000 + 3 * each, "what is beyond the budget is about one reply"


def test_two_runs_have_a_bill_each(tmp_path: Path) -> None:
    with running_endpoint() as endpoint:
        config = config_for(endpoint)
        one, other = (acquire(config, journal=tmp_path / name) for name in ("one", "other"))
        try:
            assert completions(one.complete(make_requests(3)))
            assert (one.progress.spent.replies, other.progress.spent.replies) == (3, 0)
        finally:
            release(one)
            release(other)


def test_a_dispatcher_that_follows_one_that_stopped_goes_on_with_its_bill(tmp_path: Path) -> None:
    with running_endpoint() as endpoint:
        config = config_for(endpoint)
        first = acquire(config, journal=tmp_path)
        assert completions(first.complete(make_requests(3)))
        first.close()
        second = acquire(config, journal=tmp_path)
        assert second is not first
        assert second.progress.spent.replies == 3
        release(first)
        release(second)
        third = acquire(config, journal=tmp_path)  # nobody holds it: counted from the journal, which has nothing
        assert third.progress.spent == Usage()
        release(third)


def test_the_journal_says_which_model_was_asked(tmp_path: Path) -> None:
    with running_endpoint() as endpoint:
        dispatcher = acquire(config_for(endpoint), journal=tmp_path)
        try:
            with ShardJournal(tmp_path, "generate", "shard-0", 1) as j:
                dispatcher.complete(make_requests(1), j)
                assert json.loads(j.path.read_text())["asked"] == MODEL
        finally:
            release(dispatcher)
