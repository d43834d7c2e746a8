"""What a dispatcher tells of its progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from loguru import logger

from curator_sdg.errors import BudgetReached, TeacherError
from curator_sdg.teacher import Bill, Budget, Dispatcher, Status, Usage
from tests.teacher.requests import MODEL, completions, make_requests
from tests.teacher.scripted import Scripted, settings
from tests.teacher.test_budget import Counting, used


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_sdg.teacher.dispatch.report._EVERY_S", 0.02)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    messages: list[str] = []
    handle = logger.add(lambda message: messages.append(str(message)), level="ERROR")
    yield messages
    logger.remove(handle)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def idle(progress: Status) -> bool:
    return not progress.queued and not progress.in_flight


def test_progress_is_told_while_there_is_work_and_once_more_when_there_is_none() -> None:
    told: list[Status] = []
    threads_seen: set[str] = set()

    def report(progress: Status) -> None:
        told.append(progress)
        threads_seen.add(threading.current_thread().name)

    teacher = Counting(held=True)
    with (
        Dispatcher(teacher, settings(4), bill=Bill(before={MODEL: used(7)}), report=report) as dispatcher,
        ThreadPoolExecutor(1) as threads,
    ):
        future = threads.submit(dispatcher.complete, make_requests(10))
        wait_for(lambda: len(told) >= 3)
        assert told[-1][:3] == (6, 4, 4)
        teacher.held = False
        assert completions(future.result(60))
        wait_for(lambda: idle(told[-1]))
        first = len(told)
        assert not any(idle(progress) for progress in told[: first - 1])
        assert completions(dispatcher.complete(make_requests(5, first=10)))
        wait_for(lambda: told[-1].replies == 15 and idle(told[-1]))
    assert told[-1].spent == used(22)
    assert told[-1] == dispatcher.progress
    assert [progress.asked for progress in told] == sorted(progress.asked for progress in told)
    assert threads_seen == {"curator-sdg-teacher"}


def test_when_the_budget_is_reached_the_last_figures_are_told_before_the_callers_are_let_go() -> None:
    told: list[Status] = []
    bill = Bill(Budget(max_tokens=1000))
    with Dispatcher(Counting(), settings(4), bill=bill, report=told.append) as dispatcher:
        with pytest.raises(BudgetReached):
            dispatcher.complete(make_requests(100))
        seen = told[-1]
    assert (seen.spent, idle(seen)) == (used(10), True)


def test_closing_is_told() -> None:
    told: list[Status] = []
    teacher = Scripted(held=True)
    dispatcher = Dispatcher(teacher, settings(2), report=told.append)
    dispatcher.open()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(dispatcher.complete, make_requests(5))
        assert teacher.some_asked.wait(60)
        dispatcher.close()
        with pytest.raises(TeacherError, match="was closed"):
            future.result(60)
    assert told[-1].queued == 0
    assert told[-1].spent == Usage()


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("no room")])
def test_a_report_that_fails_ends_nothing_and_is_logged_once(logged: list[str], error: Exception) -> None:
    calls = 0

    def report(progress: Status) -> None:
        nonlocal calls
        calls += 1
        raise error

    teacher = Scripted(held=True)
    with Dispatcher(teacher, settings(2), report=report) as dispatcher, ThreadPoolExecutor(1) as threads:
        future = threads.submit(dispatcher.complete, make_requests(20))
        wait_for(lambda: calls >= 3)
        teacher.held = False
        assert len(completions(future.result(60))) == 20
    [message] = logged
    assert "could not be reported" in message
    assert str(error) in message
