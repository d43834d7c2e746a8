"""The fault matrix: whatever goes wrong between client and server, every request settles, and as what it should.

Against the real server in a process of its own, with each fault alone, with all of them together, and with one of
three servers that dies and comes back. The replies are compared with those of a server without faults.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.teacher import Completion, Dispatcher, Failure, Outcome, Refusal, Request, ShardJournal
from curator_sdg.teacher.endpoint.endpoint import EndpointTeacher
from tests.endpoint import Endpoint, running_endpoint
from tests.runs import wait_until
from tests.teacher.requests import completions, config_for, make_request, make_requests

REQUESTS = 60
# How a fault is asked for, and how long a request may take then.
FAULTS: dict[str, dict[str, Any]] = {
    "rate_limit": {},
    "rate_limit_after": {"retry_after": "0.05"},
    "rate_limit_date": {"retry_after": "0"},
    "server_error": {},
    "drop": {},
    "truncate": {},
    "reset": {},
    "bad_body": {},
    "content_type": {},
    "empty_choices": {},
    "hang": {},
    "drip": {},
}
RATE_LIMITS = [name for name in FAULTS if name.startswith("rate_limit")]
TIMEOUTS = ("hang", "drip")
CONTENT = {"garbage": 0.1, "cut": 0.1, "refused": 0.1}


def asking(config: TeacherSection) -> Dispatcher:
    return Dispatcher(EndpointTeacher(config), config, backoff_s=0.01)


def ask(config: TeacherSection, requests: list[Request], folder: Path | None = None) -> list[Outcome]:
    with asking(config) as dispatcher:
        if folder is None:
            return dispatcher.complete(requests)
        with ShardJournal(folder, "generate", "shard-0", 1) as journal:
            return dispatcher.complete(requests, journal)


def in_journal(folder: Path, requests: list[Request]) -> list[Outcome | None]:
    """Return what a later start finds in the journal."""
    with ShardJournal(folder, "generate", "shard-0", 2) as journal:
        return [journal.get(request.key) for request in requests]


@pytest.fixture(scope="module")
def sound() -> Iterator[Endpoint]:
    """A server without faults."""
    with running_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def faultless(sound: Endpoint) -> list[Outcome]:
    """The replies to the requests where nothing goes wrong."""
    return ask(config_for(sound), make_requests(REQUESTS))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_changes_no_reply_and_nothing_is_asked_twice(
    tmp_path: Path, fault: str, faultless: list[Outcome]
) -> None:
    with running_endpoint(**{fault: 0.3}, **FAULTS[fault], fault_tries=2) as endpoint:
        config = config_for(endpoint, max_retries=3, timeout_s=1 if fault in TIMEOUTS else 30)
        outcomes = ask(config, make_requests(REQUESTS), tmp_path)
        stats = endpoint.stats()
    assert outcomes == faultless
    assert in_journal(tmp_path, make_requests(REQUESTS)) == faultless
    assert stats["faults"][fault] > REQUESTS / 10
    assert len(stats["answered"]) == REQUESTS
    assert set(stats["answered"].values()) == {1}
    assert sum(stats["asked"].values()) == REQUESTS + stats["faults"][fault], "one more try for each fault"


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        ("server_error", "server_error", "HTTP 500: temperature in the machine room"),
        ("drop", "connection", "ServerDisconnectedError"),
        ("truncate", "connection", "ClientPayloadError"),
        ("reset", "connection", "Connection reset by peer"),
        ("bad_body", "bad_response", "<html>gateway</html>"),
        ("content_type", "bad_response", "502 Bad Gateway"),
        ("empty_choices", "bad_response", '"choices": []'),
        ("hang", "timeout", "no whole answer within 0.3 s"),
        ("drip", "timeout", "no whole answer within 0.3 s"),
        ("flood", "connection", "an answer of more than 1,000,000 bytes"),
    ],
)
def test_a_fault_that_lasts_is_a_failure_with_its_reason_and_leaves_no_trace(
    tmp_path: Path, fault: str, reason: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curator_sdg.teacher.endpoint.endpoint._LONGEST", 1_000_000)
    requests = make_requests(2)
    with running_endpoint(**{fault: 1.0}, fault_tries=-1) as endpoint:
        outcomes = ask(config_for(endpoint, max_retries=1, timeout_s=0.3), requests, tmp_path)
        stats = endpoint.stats()
    assert [outcome.key for outcome in outcomes] == [request.key for request in requests]
    for outcome in outcomes:
        assert isinstance(outcome, Failure)
        assert outcome.reason == reason
        assert detail in outcome.detail
    assert list(stats["asked"].values()) == [2, 2]
    assert in_journal(tmp_path, requests) == [None, None]


@pytest.mark.parametrize("fault", RATE_LIMITS)
def test_a_rate_limit_uses_up_no_retries(fault: str, faultless: list[Outcome]) -> None:
    with running_endpoint(**{fault: 1.0}, **FAULTS[fault], fault_tries=3) as endpoint:
        assert ask(config_for(endpoint, max_retries=0), make_requests(3)) == faultless[:3]
        stats = endpoint.stats()
    assert list(stats["asked"].values()) == [4, 4, 4]


def test_retry_after_is_honoured_as_seconds_and_as_a_date() -> None:
    for fault in ("rate_limit_after", "rate_limit_date"):
        with running_endpoint(**{fault: 1.0}, retry_after="1", fault_tries=1) as endpoint:
            completions(ask(config_for(endpoint), make_requests(2)))
            stats = endpoint.stats()
        for first, second in stats["times"].values():
            # A date has whole seconds, so the end of one may be read by a clock that is a moment ahead.
            assert second - first >= 0.99, fault


def test_every_request_settles_as_what_it_is_with_all_faults_together(tmp_path: Path) -> None:
    requests = make_requests(200)
    transport: dict[str, Any] = dict.fromkeys(FAULTS, 0.03)
    with running_endpoint(**CONTENT) as sound:
        expected = ask(config_for(sound), requests)
    with running_endpoint(**CONTENT, **transport, retry_after="0.05", fault_tries=3) as endpoint:
        outcomes = ask(config_for(endpoint, max_in_flight=32, max_retries=3, timeout_s=1), requests, tmp_path)
        stats = endpoint.stats()
    assert outcomes == expected
    assert set(FAULTS) < set(stats["faults"])
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    cut = [outcome for outcome in outcomes if isinstance(outcome, Completion) and outcome.cut]
    assert len(refused) == stats["faults"]["refused"] > 10
    assert len(cut) > 10
    assert len(outcomes) == len(refused) + len(stats["answered"]), "the others are replies, whatever they hold"
    assert set(stats["answered"].values()) == {1}
    again = in_journal(tmp_path, requests)
    # A refusal before anything succeeded may be the parameters' fault; it is settled, but not for good.
    lost = {outcome.key for found, outcome in zip(again, outcomes, strict=True) if found != outcome}
    assert lost <= {outcome.key for outcome in refused}


def test_a_reply_under_a_wrong_content_type_is_a_reply(faultless: list[Outcome]) -> None:
    with running_endpoint(reply_type="text/html") as endpoint:
        assert ask(config_for(endpoint), make_requests(REQUESTS)) == faultless
        assert set(endpoint.stats()["asked"].values()) == {1}


def test_a_server_that_counts_no_tokens_is_not_made_to() -> None:
    with running_endpoint(usage="none") as endpoint:
        [reply] = completions(ask(config_for(endpoint), make_requests(1)))
    assert (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens) == (None, None, None)


def test_faults_of_requests_for_several_samples_settle_each_sample() -> None:
    requests = [make_request(number, sample=sample) for number in range(30) for sample in range(4)]
    faults = {"server_error": 0.2, "reset": 0.1, "empty_choices": 0.1}
    with running_endpoint(**faults) as endpoint, running_endpoint() as sound:
        outcomes = ask(config_for(endpoint, samples_per_request=4), requests)
        assert outcomes == ask(config_for(sound, samples_per_request=4), requests)
        stats = endpoint.stats()
    assert len({reply.text for reply in completions(outcomes)}) == len(requests)
    assert len(stats["answered"]) == 30
    assert set(stats["answered"].values()) == {1}


def test_a_server_that_gives_fewer_samples_than_asked_for_is_asked_for_the_others() -> None:
    requests = [make_request(number, sample=sample) for number in range(10) for sample in range(4)]
    with running_endpoint(most_choices=3) as endpoint:
        replies = completions(ask(config_for(endpoint, samples_per_request=4), requests))
        stats = endpoint.stats()
    assert [reply.key for reply in replies] == [request.key for request in requests]
    assert len(stats["answered"]) == 20
    assert sum(reply.completion_tokens or 0 for reply in replies) == stats["tokens"]["completion"]
    assert sum(reply.prompt_tokens or 0 for reply in replies) == stats["tokens"]["prompt"]


def test_a_server_that_queues_gets_everything_and_loses_nothing(faultless: list[Outcome]) -> None:
    with running_endpoint(latency_s=0.02, slots=3) as endpoint:
        assert ask(config_for(endpoint, max_in_flight=16), make_requests(REQUESTS)) == faultless
        stats = endpoint.stats()
    assert (stats["max_working"], stats["max_in_flight"]) == (3, 16)
    assert set(stats["asked"].values()) == {1}


def test_a_server_that_refuses_beyond_its_capacity_settles_everything(faultless: list[Outcome]) -> None:
    with running_endpoint(latency_s=0.02, capacity=4) as endpoint:
        assert ask(config_for(endpoint, max_in_flight=16, max_retries=0), make_requests(REQUESTS)) == faultless
        stats = endpoint.stats()
    assert stats["faults"]["capacity"] > 0
    assert stats["max_working"] <= 4
    assert set(stats["answered"].values()) == {1}


def test_a_server_that_limits_its_rate_settles_everything(faultless: list[Outcome]) -> None:
    with running_endpoint(requests_per_minute=1200) as endpoint:  # 20 a second
        assert ask(config_for(endpoint, max_in_flight=16, max_retries=0), make_requests(REQUESTS)) == faultless
        stats = endpoint.stats()
    assert stats["faults"]["requests_per_minute"] > 0
    assert set(stats["answered"].values()) == {1}


@pytest.mark.parametrize("fault", ["hang", "server_error", "drop"])
def test_the_others_do_the_work_of_one_of_three_servers_that_never_answers(
    fault: str, faultless: list[Outcome]
) -> None:
    with (
        running_endpoint(**{fault: 1.0}, fault_tries=-1) as sick,
        running_endpoint(latency_s=0.01) as one,
        running_endpoint(latency_s=0.01) as two,
    ):
        config = config_for(sick, one, two, max_in_flight=12, timeout_s=1)
        assert ask(config, make_requests(REQUESTS)) == faultless
        stats = [endpoint.stats() for endpoint in (sick, one, two)]
    assert not stats[0]["answered"]
    assert len(stats[0]["asked"]) < REQUESTS / 3, "it is rested"
    assert set((stats[1]["answered"] | stats[2]["answered"]).values()) == {1}
    assert len(stats[1]["answered"]) + len(stats[2]["answered"]) == REQUESTS


class Asking:
    """A thread that asks batch after batch until it is told to end."""

    def __init__(self, config: TeacherSection) -> None:
        self.config = config
        self.ended = threading.Event()
        self.outcomes: list[Outcome] = []

    def __call__(self) -> None:
        with asking(self.config) as dispatcher, ThreadPoolExecutor(2) as threads:
            while not self.ended.is_set():
                begun = len(self.outcomes)
                halves = [make_requests(30, first=begun), make_requests(30, first=begun + 30)]
                for half in threads.map(dispatcher.complete, halves):
                    self.outcomes += half


def answered(endpoint: Endpoint) -> int:
    return int(endpoint.stats(short=True)["replies"])


def test_one_of_three_servers_dies_and_comes_back(sound: Endpoint) -> None:
    with (
        running_endpoint(latency_s=0.03) as dying,
        running_endpoint(latency_s=0.03) as one,
        running_endpoint(latency_s=0.03) as two,
        ThreadPoolExecutor(1) as threads,
    ):
        asked = Asking(config_for(dying, one, two, max_in_flight=12))
        running = threads.submit(asked)

        def many_more(*endpoints: Endpoint) -> None:
            goals = [answered(endpoint) + 50 for endpoint in endpoints]
            wait_until(lambda: running.done() or all(map(at_least, endpoints, goals)))
            assert not running.done(), running.result()

        def at_least(endpoint: Endpoint, goal: int) -> bool:
            return answered(endpoint) >= goal

        try:
            many_more(dying, one, two)
            dying.stop()
            many_more(one, two)  # the survivors do not starve
            dying.start()
            many_more(dying, one, two)  # the one that died is used again
        finally:
            asked.ended.set()
        running.result(60)
        counts = [endpoint.stats()["answered"] for endpoint in (dying, one, two)]
    assert asked.outcomes == ask(config_for(sound), make_requests(len(asked.outcomes)))
    names = [name for each in counts for name in each]
    assert len(names) == len(set(names)), "nothing that was answered is asked again"
    assert all(set(each.values()) == {1} for each in counts)
