"""The chat format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from curator_sdg.teacher import Completion, wire
from curator_sdg.teacher.wire import Trouble
from tests.teacher.requests import make_request


def answer(message: Any, finish_reason: Any = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish_reason}], **more}).encode()


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
    ],
)
def test_what_a_reply_says(content: bytes, text: str, finish_reason: str, reasoning: str | None) -> None:
    assert wire.parse(content, "k") == Completion("k", text, finish_reason, reasoning)


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
        (b"[" * 100_000, "bad_response"),
        (answer({"content": "ha"}, "abort"), "server_error"),
        (answer({"content": "ha"}, "error"), "server_error"),
    ],
)
def test_what_is_no_reply(content: bytes, reason: str) -> None:
    trouble = wire.parse(content, "k")
    assert isinstance(trouble, Trouble)
    assert trouble.reason == reason
    assert len(trouble.detail) < 1000


def test_token_counts() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}
    reply = wire.parse(answer({"content": "a"}, usage=usage, model="m"), "k")
    assert reply == Completion("k", "a", "stop", None, "m", 5, 3, 7)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(408, "timeout"), (409, "server_error"), (429, "rate_limit"), (500, "server_error"), (529, "server_error")]
    + [(status, None) for status in (301, 400, 401, 403, 404, 422)],
)
def test_which_statuses_are_retried(status: int, reason: str | None) -> None:
    assert wire.retried(status) == reason


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
        (b"", ""),
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
