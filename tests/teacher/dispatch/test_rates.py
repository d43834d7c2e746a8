"""Requests and tokens a minute, on a clock of its own."""

from __future__ import annotations

from typing import Any

import pytest

from curator_sdg.teacher.dispatch.rates import Rates
from tests.teacher.scripted import settings


class Clock:
    """Sends one request after the other, each as soon as it may be."""

    def __init__(self, **limits: Any) -> None:
        self.rates = Rates(settings(8, **limits))
        self.now = 1000.0

    def send(self, tokens: float = 0.0) -> float:
        """Wait for a request's turn, send it, and return when that was."""
        while wait := self.rates.wait(tokens, self.now):
            assert wait > 0
            self.now += wait
        self.rates.take(tokens, self.now)
        return self.now - 1000.0


def test_requests_go_out_evenly_after_those_of_a_second() -> None:
    clock = Clock(requests_per_minute=120)
    assert [clock.send() for _ in range(6)] == pytest.approx([0, 0, 0.5, 1.0, 1.5, 2.0])


def test_a_rate_below_one_a_second_still_lets_one_pass() -> None:
    clock = Clock(requests_per_minute=6)
    assert [clock.send() for _ in range(3)] == pytest.approx([0, 10, 20])


@pytest.mark.parametrize("a_minute", [7, 60, 100, 6000])
def test_within_an_hour_there_are_as_many_as_allowed(a_minute: int) -> None:
    clock = Clock(requests_per_minute=a_minute)
    sent = 0
    while clock.send() < 3600:
        sent += 1
    assert sent == pytest.approx(60 * a_minute, rel=0.02, abs=2)


def test_after_a_pause_no_more_than_a_seconds_worth_is_made_up_for() -> None:
    clock = Clock(requests_per_minute=120)
    clock.send()
    clock.now += 600
    start = clock.send()
    assert [clock.send() - start for _ in range(3)] == pytest.approx([0, 0.5, 1.0])


def test_tokens_go_out_evenly() -> None:
    clock = Clock(tokens_per_minute=60_000)
    assert [clock.send(500) for _ in range(5)] == pytest.approx([0, 0, 0.5, 1.0, 1.5])


def test_a_request_larger_than_a_second_passes_and_leaves_a_debt() -> None:
    clock = Clock(tokens_per_minute=60_000)
    assert [clock.send(5000) for _ in range(3)] == pytest.approx([0, 5, 10])


def test_estimates_are_corrected() -> None:
    clock = Clock(tokens_per_minute=60_000)
    clock.send(1000)
    clock.rates.correct(1000, 200, clock.now)
    assert clock.send(800) == 0
    clock.rates.correct(800, 1800, clock.now)
    assert clock.send(500) == pytest.approx(1.5)


def test_giving_back_fills_no_more_than_a_seconds_worth() -> None:
    clock = Clock(tokens_per_minute=60_000)
    clock.rates.correct(100_000, 0, clock.now)
    assert [clock.send(1000), clock.send(1000)] == pytest.approx([0, 1])


def test_both_limits_hold_together() -> None:
    clock = Clock(requests_per_minute=60, tokens_per_minute=60_000)
    assert [clock.send(100) for _ in range(3)] == pytest.approx([0, 1, 2])
    assert clock.send(5000) == pytest.approx(3)
    assert clock.send(100) == pytest.approx(7.1)
