"""The chat format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from curator_sdg.teacher import Completion
from curator_sdg.teacher.base import Trouble
from curator_sdg.teacher.endpoint import wire
from tests.teacher.requests import make_request


def answer(message: Any, finish_reason: Any = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}], **more}).encode()


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "b"}]}


@pytest.mark.parametrize(
    ("content", "text", "finish_reason", "reasoning"),
    [
        (answer({"content": "yes"}), "yes", "stop", None),
        (answer({"content": None}), "", "stop", None),
        (answer({"content": "half"}, "length"), "half", "length", None),
        (answer({"content": "a", "reasoning_content": "b"}), "a", "stop", "b"),
        (answer({"content": "a", "reasoning": "b"}), "a", "stop", "b"),
        (answer({"content": "a", "reasoning_content": None}), "a", "stop", None),
        (answer({"content": "a"}, None), "a", "unknown", None),
        (answer({"content": "lone \ud800, pair \U0001f600"}), "lone \ufffd, pair \U0001f600", "stop", None),
        (answer({"content": "a"}, usage=None), "a", "stop", None),
        (answer({"content": "a"}, usage={"prompt_tokens": "many"}), "a", "stop", None),
        (answer({"content": "<think>\nb\n</think>\n\na"}), "a", "stop", "b"),
        (answer({"content": "\n<think></think>a"}), "a", "stop", None),
        (answer({"content": "<think>b, and so"}, "length"), "", "length", "b, and so"),
        (answer({"content": "<think>b"}), "<think>b", "stop", None),
        (answer({"content": "a <think>b</think>"}), "a <think>b</think>", "stop", None),
        (answer({"content": "<think>a</think>", "reasoning_content": "b"}), "<think>a</think>", "stop", "b"),
        (answer({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "ab", "stop", None),
        (answer({"content": [THOUGHT, {"type": "text", "text": "a"}]}), "a", "stop", "b"),
        (answer({"content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"), "", "tool_calls", None),
    ],
)
def test_what_a_reply_says(content: bytes, text: str, finish_reason: str, reasoning: str | None) -> None:
    assert wire.parse(content, ["k"]) == [Completion("k", text, finish_reason, reasoning)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "bad_response"),
        (b"<html>", "bad_response"),
        (b"\xff\xfe\xfd", "bad_response"),
        (b"[]", "bad_response"),
        (b"null", "bad_response"),
        (b'{"choices": []}', "bad_response"),
        (b'{"choices": [{}]}', "bad_response"),
        (b'{"choices": [{"message": null}]}', "bad_response"),
        (b'{"error": {"message": "overloaded"}}', "bad_response"),
        (answer({"content": ["a"]}), "bad_response"),
        (answer({"content": [{"type": "image_url", "image_url": {}}]}), "bad_response"),
        (answer({"content": [{"type": "text", "text": None}]}), "bad_response"),
        (b"[" * 100_000, "bad_response"),
        (answer({"content": "ha"}, "abort"), "server_error"),
        (answer({"content": "ha"}, "error"), "server_error"),
    ],
)
def test_what_is_no_reply(content: bytes, reason: str) -> None:
    trouble = wire.parse(content, ["k"])
    assert isinstance(trouble, Trouble)
    assert trouble.reason == reason
    assert len(trouble.detail) < 1000


def test_token_counts() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}
    replies = wire.parse(answer({"content": "a"}, usage=usage, model="m"), ["k"])
    assert replies == [Completion("k", "a", "stop", None, "m", 5, 3, 7)]


@pytest.mark.parametrize("count", [-1, 5.0, "5", True, None, 1 << 63, 10**400])
def test_a_token_count_that_can_be_none_is_not_known(count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": count}}
    assert wire.parse(answer({"content": "a"}, usage=usage), ["k"]) == [
        Completion("k", "a", "stop", completion_tokens=7)
    ]


def choices(*texts: str, usage: Any = None, cut: str = "stop") -> bytes:
    found = [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate(texts)]
    found[-1]["finish_reason"] = cut
    return json.dumps({"choices": found, "usage": usage}).encode()


@pytest.mark.parametrize(
    ("texts", "total", "tokens"),
    [
        (["a" * 10, "a" * 30, "a" * 20], 12, [2, 6, 4]),
        (["aaa", "aaa", "aaa"], 10, [3, 3, 4]),
        (["", "", ""], 4, [1, 1, 2]),
        (["a", "", "a"], 3, [1, 0, 2]),
        (["a", "a", "a"], 0, [0, 0, 0]),
    ],
)
def test_tokens_of_several_replies_add_up_to_what_the_server_counts(
    texts: list[str], total: int, tokens: list[int]
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": total, "prompt_tokens_details": {"cached_tokens": 3}}
    replies = wire.parse(choices(*texts, usage=usage), ["k", "l", "m"])
    assert not isinstance(replies, Trouble)
    assert [(reply.key, reply.text) for reply in replies] == list(zip("klm", texts, strict=True))
    assert [reply.completion_tokens for reply in replies] == tokens
    assert [(reply.prompt_tokens, reply.cached_tokens) for reply in replies] == [(5, 3), (0, 0), (0, 0)]


def test_without_counts_none_of_several_replies_has_any() -> None:
    replies = wire.parse(choices("a", "b"), ["k", "l"])
    assert not isinstance(replies, Trouble)
    assert {(r.prompt_tokens, r.cached_tokens, r.completion_tokens) for r in replies} == {(None, None, None)}


def test_fewer_replies_than_asked_for_stand_under_the_first_keys_and_further_ones_are_dropped() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9}
    fewer = wire.parse(choices("a", "b", "c", usage=usage, cut="abort"), ["k", "l", "m"])
    assert not isinstance(fewer, Trouble)
    assert [(reply.key, reply.text) for reply in fewer] == [("k", "a"), ("l", "b")]
    assert sum(reply.completion_tokens or 0 for reply in fewer) == 9, "what was given up was paid for, too"
    more = wire.parse(choices("a", "b"), ["k"])
    assert not isinstance(more, Trouble)
    assert [reply.text for reply in more] == ["a"]


@pytest.mark.parametrize(
    ("status", "reason", "overload"),
    [
        (408, "timeout", False),
        (409, "server_error", False),
        (429, "rate_limit", True),
        (500, "server_error", False),
        (503, "server_error", True),
        (529, "server_error", True),
    ],
)
def test_which_statuses_are_retried(status: int, reason: str, overload: bool) -> None:
    trouble = wire.retried(status, b'{"error": {"message": "slow down"}}', "2")
    assert trouble == Trouble(reason, f"HTTP {status}: slow down", 2.0, overload)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_which_statuses_are_final(status: int) -> None:
    assert wire.retried(status, b"no", None) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("", 0), ("2", 2), ("0.5", 0.5), ("-3", 0), ("nan", 0), ("inf", 300), ("86400", 300), ("soon", 0)],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert wire.retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 50 < wire.retry_after(format_datetime(soon, usegmt=True)) <= 100
    assert wire.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert wire.retry_after("Wed, 21 Oct 2999 07:28:00 -0000") == 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": {"message": "too long", "type": "x"}}', "too long"),
        (b'{"message": "too long"}', "too long"),
        (b'{"detail": "too long"}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        (b"too\n  long", "too long"),
        (b'{"a": 1}', '{"a": 1}'),
        (b'{"error": "\\u001b[2Jtoo\\u0007 long"}', "[2Jtoo long"),  # nothing that a terminal would obey
        (b"", ""),
        (b" " * 99_999 + b"too long" * 100_000, "t"),
    ],
)
def test_the_message_of_an_error(content: bytes, message: str) -> None:
    assert wire.said(content) == message


def test_the_body_of_a_request() -> None:
    body = json.loads(wire.body(make_request(1, schema={"type": "object"})))
    assert body == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "Write a question about item 1."}],
        "temperature": 0.7,
        "max_tokens": 64,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True},
        },
    }
    assert "response_format" not in json.loads(wire.body(make_request(1, schema=None)))


def test_the_body_of_a_request_for_several_samples() -> None:
    assert json.loads(wire.body(make_request(1), 3)) == json.loads(wire.body(make_request(1))) | {"n": 3}


@pytest.mark.parametrize(
    ("structured", "fields"),
    [
        ("structured_outputs", {"structured_outputs": {"json": {"type": "object"}}}),
        ("json_object", {"response_format": {"type": "json_object"}}),
        ("none", {}),
    ],
)
def test_how_a_schema_is_asked_for(structured: str, fields: dict[str, Any]) -> None:
    asked = json.loads(wire.body(make_request(1, schema={"type": "object"}, structured=structured)))
    assert asked == json.loads(wire.body(make_request(1, schema=None))) | fields


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', ["a", "b"]),
        (b'{"data": null}', None),
        (b"<html>", None),
        (b"[]", None),
    ],
)
def test_the_list_of_models(content: bytes, names: list[str] | None) -> None:
    assert wire.models(content) == names
