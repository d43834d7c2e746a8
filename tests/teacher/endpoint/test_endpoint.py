"""The teacher behind a real HTTP server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from loguru import logger

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError, TeacherFailing
from curator_sdg.teacher import Dispatcher, Failure, Outcome, Refusal, Request, ShardJournal
from curator_sdg.teacher.endpoint.endpoint import EndpointTeacher
from tests.endpoint import Endpoint, running_endpoint
from tests.teacher.requests import MODEL, SCHEMA, completions, config_for, make_request, make_requests

KEY = "sk-secret-0123456789"


def ask(
    config: TeacherSection, requests: list[Request], journal: ShardJournal | None = None, backoff_s: float = 0.01
) -> list[Outcome]:
    with Dispatcher(EndpointTeacher(config), config, backoff_s=backoff_s) as dispatcher:
        return dispatcher.complete(requests, journal)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    messages: list[str] = []
    handle = logger.add(lambda message: messages.append(str(message)), level="WARNING")
    yield messages
    logger.remove(handle)


def free_address() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/v1"


def test_replies_hold_to_the_schema_and_are_the_same_the_next_time() -> None:
    with running_endpoint(reasoning=True) as endpoint:
        first, second = (completions(ask(config_for(endpoint), make_requests(20))) for _ in range(2))
    for completion in first:
        jsonschema.validate(json.loads(completion.text), SCHEMA)
    assert first == second
    assert len({completion.text for completion in first}) == 20
    reply = first[0]
    assert (reply.finish_reason, reply.model) == ("stop", MODEL)
    assert reply.reasoning
    assert (reply.prompt_tokens, reply.cached_tokens) == (6, 3)
    assert reply.completion_tokens == len(reply.text.split())


def test_samples_of_one_prompt_differ() -> None:
    with running_endpoint() as endpoint:
        replies = completions(ask(config_for(endpoint), [make_request(1, sample=i) for i in range(5)]))
    assert len({reply.text for reply in replies}) == 5


def test_what_a_server_does_not_part_from_the_reply_is_parted() -> None:
    with running_endpoint(think=True) as endpoint:
        [reply] = completions(ask(config_for(endpoint), [make_request(1)]))
    jsonschema.validate(json.loads(reply.text), SCHEMA)
    assert reply.reasoning
    assert "<think>" not in reply.reasoning


@pytest.mark.parametrize(("structured", "kind"), [("json_object", dict), ("none", None)])
def test_the_response_format_is_what_the_configuration_says(structured: str, kind: type | None) -> None:
    with running_endpoint() as endpoint:
        [reply] = completions(ask(config_for(endpoint), [make_request(1, structured=structured)]))
    if kind is None:
        with pytest.raises(json.JSONDecodeError):
            json.loads(reply.text)
    else:
        assert list(json.loads(reply.text)) == ["text"]


def test_a_cut_reply_says_so() -> None:
    with running_endpoint(cut=1.0) as endpoint:
        [reply] = completions(ask(config_for(endpoint), [make_request(1)]))
    assert reply.cut


def test_retries_settle_everything_and_change_nothing() -> None:
    faults = {"rate_limit": 0.15, "server_error": 0.15, "drop": 0.15, "truncate": 0.1, "bad_body": 0.1}
    with running_endpoint(**faults) as faulty, running_endpoint() as sound:
        outcomes = ask(config_for(faulty), make_requests(200))
        assert outcomes == ask(config_for(sound), make_requests(200))
        stats = faulty.stats()
    assert set(stats["faults"]) == set(faults)
    assert set(stats["answered"].values()) == {1}
    assert len(stats["answered"]) == 200
    assert max(stats["asked"].values()) > 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("server_error", "server_error"),
        ("drop", "connection"),
        ("truncate", "connection"),
        ("bad_body", "bad_response"),
        ("hang", "timeout"),
    ],
)
def test_retries_that_run_out_are_a_failure_and_leave_no_trace(tmp_path: Path, fault: str, reason: str) -> None:
    with running_endpoint(**{fault: 1.0}, fault_tries=-1) as endpoint:
        config = config_for(endpoint, max_retries=2, timeout_s=0.3)
        with ShardJournal(tmp_path, "generate", "shard-0", 1) as journal:
            outcomes = ask(config, make_requests(3), journal)
        stats = endpoint.stats()
    for outcome in outcomes:
        assert isinstance(outcome, Failure)
        assert outcome.reason == reason
        assert "(tried 3 times)" in outcome.detail
    assert set(stats["asked"].values()) == {3}
    assert not list(tmp_path.iterdir())


def test_retry_after_is_honoured() -> None:
    with running_endpoint(rate_limit_after=1.0, retry_after="1", fault_tries=1) as endpoint:
        completions(ask(config_for(endpoint, max_retries=1), make_requests(2)))
        times = endpoint.stats()["times"]
    for first, second in times.values():
        assert second - first >= 1.0


def test_waiting_for_a_slot_is_no_part_of_a_requests_time() -> None:
    with running_endpoint(latency_s=0.2) as endpoint:
        config = config_for(endpoint, max_in_flight=1, timeout_s=1.0, max_retries=0)
        # The last waits longer than a request may take.
        assert len(completions(ask(config, make_requests(8)))) == 8


def test_a_refused_record_is_a_refusal_that_is_not_asked_again(tmp_path: Path) -> None:
    with running_endpoint(refused=0.4) as endpoint, ShardJournal(tmp_path, "generate", "shard-0", 1) as journal:
        outcomes = ask(config_for(endpoint, max_in_flight=1), make_requests(40), journal)
        stats = endpoint.stats()
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert 0 < len(refused) < 40
    assert refused[0].status == 400
    assert "maximum context length" in refused[0].detail
    assert set(stats["asked"].values()) == {1}
    assert len(journal) in (40, 39), "but the first ones, before anything succeeded"


def test_samples_that_are_refused_together_are_asked_for_one_by_one() -> None:
    with running_endpoint(refused=1.0) as endpoint:
        votes = [make_request(record, sample=sample) for record in range(4) for sample in range(2)]
        outcomes = ask(config_for(endpoint, samples_per_request=2), votes)
        asked = sum(endpoint.stats()["asked"].values())
    assert [(type(outcome), outcome.key) for outcome in outcomes] == [(Refusal, vote.key) for vote in votes]
    assert asked == 4 + 8


def test_an_endpoint_that_refuses_everything_is_an_error() -> None:
    with (
        running_endpoint(refused=1.0) as endpoint,
        pytest.raises(TeacherError, match=r"refused the first 20 requests .*maximum context.*teacher\.structured"),
    ):
        ask(config_for(endpoint), make_requests(100))


def test_all_addresses_are_used_evenly_while_the_cap_is_global() -> None:
    with running_endpoint(latency_s=0.02) as one, running_endpoint(latency_s=0.02) as two:
        completions(ask(config_for(one, two, max_in_flight=8), make_requests(100)))
        shares = [len(endpoint.stats()["asked"]) for endpoint in (one, two)]
        most = [endpoint.stats()["max_in_flight"] for endpoint in (one, two)]
    assert sum(shares) == 100
    assert min(shares) >= 30
    assert most == [4, 4]


def test_an_address_that_dies_midway_does_not_swallow_the_requests() -> None:
    with running_endpoint() as sound, running_endpoint() as dying:
        config = config_for(dying, sound, max_retries=3)
        with Dispatcher(EndpointTeacher(config), config, backoff_s=0.01) as dispatcher:
            completions(dispatcher.complete(make_requests(20)))
            dying.process.kill()
            dying.process.wait()
            assert len(completions(dispatcher.complete(make_requests(200, first=20)))) == 200


def test_one_of_two_that_serves_another_model_midway_leaves_the_work_to_the_other(logged: list[str]) -> None:
    with running_endpoint() as one, running_endpoint() as two:
        config = config_for(one, two, max_retries=20)
        with Dispatcher(EndpointTeacher(config), config, backoff_s=0.01) as dispatcher:
            assert len(completions(dispatcher.complete(make_requests(20)))) == 20
            one.stop()
            one.start(model="another")
            assert len(completions(dispatcher.complete(make_requests(60, first=20)))) == 60
        assert 0 < sum(one.stats()["asked"].values()) < 30
        assert not one.stats()["answered"]


def test_a_key_that_is_revoked_midway_ends_the_asking_resumable_with_what_is_whole_kept(tmp_path: Path) -> None:
    with running_endpoint() as endpoint, ShardJournal(tmp_path, "generate", "shard-0", 1) as journal:
        config = config_for(endpoint, max_retries=99, patience_s=0.3)
        with Dispatcher(EndpointTeacher(config), config, backoff_s=0.01) as dispatcher:
            assert len(completions(dispatcher.complete(make_requests(10), journal))) == 10
            endpoint.stop()
            endpoint.start(key="another")
            with pytest.raises(TeacherFailing, match=r"unusable: .* asks for a key \(HTTP 401"):
                dispatcher.complete(make_requests(20), journal)
        assert len(journal) == 10
        with pytest.raises(TeacherError, match="asks for a key"):  # at the start it is told at once
            ask(config, make_requests(20), journal)


def test_the_key_is_sent_and_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", f" {KEY}\n")
    with running_endpoint(key=KEY) as endpoint, ShardJournal(tmp_path, "generate", "shard-0", 1) as journal:
        config = config_for(endpoint, api_key_env="THE_KEY")
        completions(ask(config, make_requests(3), journal))
        written = journal.path.read_text()
    assert KEY not in written
    assert "127.0.0.1" not in written


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    config = TeacherSection(model=MODEL, base_urls=(free_address(),), api_key_env="THE_KEY")
    with pytest.raises(TeacherError, match=r"teacher\.api_key_env: the environment variable THE_KEY is not set"):
        ask(config, make_requests(1))


def test_a_key_that_no_header_can_hold_is_an_error_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-one\nsk-two")
    config = TeacherSection(model=MODEL, base_urls=(free_address(),), api_key_env="THE_KEY")
    with pytest.raises(TeacherError, match="THE_KEY holds a line break or the like") as error:
        ask(config, make_requests(1))
    assert "sk-" not in str(error.value)


def test_a_wrong_key_is_an_error_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-wrong")
    with running_endpoint(key=KEY) as endpoint:
        with pytest.raises(TeacherError, match="does not accept the key in THE_KEY") as caught:
            ask(config_for(endpoint, api_key_env="THE_KEY"), make_requests(1))
        with pytest.raises(TeacherError, match="asks for a key"):
            ask(config_for(endpoint), make_requests(1))
    assert "sk-wrong" not in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    address = free_address()
    with pytest.raises(
        TeacherError, match=rf"teacher\.base_urls: {address} cannot be reached .*is the server running"
    ):
        ask(TeacherSection(model=MODEL, base_urls=(address,)), make_requests(1))


def test_when_no_address_can_be_reached_all_are_named() -> None:
    one, other = free_address(), free_address()
    with pytest.raises(TeacherError, match=rf"{one} cannot be reached .*{other} cannot be reached .*is the server"):
        ask(TeacherSection(model=MODEL, base_urls=(one, other)), make_requests(1))


def test_one_dead_address_of_two_is_told_and_asked_now_and_then(logged: list[str]) -> None:
    address = free_address()
    with running_endpoint() as endpoint:
        config = config_for(endpoint, base_urls=(endpoint.url, address), max_retries=3)
        with Dispatcher(EndpointTeacher(config), config, backoff_s=0.01) as dispatcher:
            completions(dispatcher.complete(make_requests(1)))
            assert (dispatcher.progress.endpoints, dispatcher.progress.resting) == (2, 1)
            assert len(completions(dispatcher.complete(make_requests(50)))) == 50
            assert (dispatcher.progress.endpoints, dispatcher.progress.resting) == (2, 1)
    assert f"teacher.base_urls: {address} cannot be reached" in logged[0]
    assert "the run begins without it" in logged[0]


@pytest.mark.parametrize("fault", [{"key": KEY}, {"model": "other"}])
def test_a_server_that_says_no_is_an_error_also_where_another_says_yes(fault: dict[str, str]) -> None:
    with running_endpoint() as sound, running_endpoint(**fault) as other, pytest.raises(TeacherError, match=other.url):
        ask(config_for(sound, other), make_requests(1))


def test_a_model_that_the_server_lacks_is_named_with_those_it_has() -> None:
    with running_endpoint(model="nemotron-3-super") as endpoint:
        config = config_for(endpoint, model="nemotron-3-supr")
        with pytest.raises(TeacherError, match=r"no model 'nemotron-3-supr'; it has nemotron-3-super"):
            ask(config, make_requests(1))


def asked_without_list(endpoint: Endpoint, **changes: Any) -> list[Outcome]:
    model = changes.get("model", MODEL)
    return ask(config_for(endpoint, **changes), [make_request(1, model=model)])


def test_a_server_without_a_list_of_models_is_taken_at_its_word() -> None:
    with running_endpoint(no_models=True) as endpoint:
        completions(asked_without_list(endpoint))
        with pytest.raises(TeacherError, match=r"teacher\.model: .* knows no model 'other'"):
            asked_without_list(endpoint, model="other")
