"""When a teacher has failed too much to go on."""

from __future__ import annotations

import pytest

from curator_sdg.teacher import Completion, Failure, Outcome, Refusal
from curator_sdg.teacher.base import Trouble
from curator_sdg.teacher.dispatch.circuit import Circuit, Patience

WELL: Outcome = Completion("k", "yes", "stop")
REFUSED: Outcome = Refusal("k", 400, "too long")


def failure(reason: str = "server_error", detail: str = "HTTP 500") -> Outcome:
    return Failure("k", reason, detail)


def settled(circuit: Circuit, *outcomes: Outcome) -> str | None:
    for outcome in outcomes:
        circuit.settled(outcome)
    return circuit.broken()


def test_it_judges_only_a_whole_window() -> None:
    circuit = Circuit(0.5, 8)
    assert settled(circuit, *[failure()] * 99) is None
    assert "100 of the last 100 requests failed" in (settled(circuit, failure()) or "")


@pytest.mark.parametrize(("at_once", "window"), [(1, 100), (50, 100), (51, 102), (512, 1024)])
def test_the_window_is_twice_what_is_in_flight(at_once: int, window: int) -> None:
    circuit = Circuit(0.0, at_once)
    assert settled(circuit, *[failure()] * (window - 1)) is None
    assert settled(circuit, failure())


def test_more_than_the_share_breaks_it() -> None:
    circuit = Circuit(0.25, 8)
    assert settled(circuit, *[WELL] * 50, *[REFUSED] * 25, *[failure()] * 25) is None
    assert settled(circuit, failure())


def test_only_the_latest_count() -> None:
    circuit = Circuit(0.5, 8)
    assert settled(circuit, *[failure()] * 50, *[WELL] * 1000, *[failure()] * 50) is None
    assert settled(circuit, *[WELL] * 50, *[failure()] * 51)
    assert settled(circuit, *[WELL] * 51) is None


def test_no_share_of_failures_is_more_than_all() -> None:
    assert settled(Circuit(1.0, 8), *[failure()] * 1000) is None


def test_the_message_says_how_many_why_and_what_to_do() -> None:
    outcomes = [failure("timeout", "no answer")] * 20 + [failure()] * 30 + [failure(detail="HTTP 502")] * 10
    assert settled(Circuit(0.5, 8), *[WELL] * 40, *outcomes) == (
        "60 of the last 100 requests failed with all their retries, and its max_failure_share is 0.5; most often "
        "server_error: HTTP 500; see to the endpoint and run the same command again"
    )


def test_patience_ends_when_no_reply_came_since_the_first_trouble() -> None:
    patience = Patience(60)
    assert (patience.over(1e9), patience.ends_at) == (None, None)
    patience.troubled(Trouble("timeout", "no answer"), "http://one/v1", 1000)
    patience.troubled(Trouble("rate_limit", "HTTP 429: quota"), "http://two/v1", 1059)
    assert (patience.over(1059), patience.ends_at) == (None, 1060)
    assert patience.over(1060) == (
        "no reply has come for 60 s (its patience_s); the last trouble: rate_limit: HTTP 429: quota "
        "(http://two/v1); see to the endpoint and run the same command again"
    )


def test_a_reply_restores_patience() -> None:
    patience = Patience(60)
    patience.troubled(Trouble("timeout", ""), "", 1000)
    patience.replied()
    assert patience.over(2000) is None
    patience.troubled(Trouble("timeout", ""), "", 2000)
    assert patience.over(2059) is None
    assert patience.over(2060)
