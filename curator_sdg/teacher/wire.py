"""The OpenAI-compatible chat format: a request's body, and what a server's answer means.

Nothing here touches the network. What an answer means is decided by its status and shape, never by the words of an
error message.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from curator_sdg.teacher.base import Completion, Request

_RETRY_AFTER_MAX_S = 300.0
_QUOTED = 500  # characters of a server's message
# Statuses under which the same request may succeed later, by the reason that a failure then has.
_RETRIED: dict[int, str] = {
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.CONFLICT: "server_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit",
}
# The engine gave up on the reply midway, in vLLM's and OpenRouter's words; what it holds is no reply.
_GIVEN_UP = ("abort", "error")


class Trouble(NamedTuple):
    """An answer that is none: the same request is to be sent again."""

    reason: str
    detail: str
    retry_after: float = 0.0  # seconds that the server asks to wait


def body(request: Request) -> bytes:
    """Return the body of a chat completion request."""
    payload: dict[str, Any] = {"model": request.model, "messages": request.messages, **request.sampling}
    if request.schema is not None and request.structured == "json_schema":
        payload["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": request.schema, "strict": True},
        }
    elif request.schema is not None and request.structured == "json_object":
        payload["response_format"] = {"type": "json_object"}
    return json.dumps(payload).encode()


def retried(status: int) -> str | None:
    """Return the reason under which an HTTP status is retried, or null for one that is final."""
    return _RETRIED.get(status, "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)


def retry_after(header: str | None) -> float:
    """Return the seconds that a ``Retry-After`` header asks for (seconds or an HTTP date), at most five minutes."""
    if not header:
        return 0.0
    seconds = 0.0
    with contextlib.suppress(ValueError):  # nonsense asks for nothing
        try:
            seconds = float(header)
        except ValueError:
            date = parsedate_to_datetime(header)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(seconds, _RETRY_AFTER_MAX_S) if seconds > 0 else 0.0  # nan is not above 0


def said(content: bytes) -> str:
    """Return the message of an error answer, in OpenAI's, FastAPI's or no format."""
    text = content.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(text)
        if isinstance(answer, dict):
            error = answer.get("error", answer)
            inner = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
            text = inner if isinstance(inner, str) else json.dumps(inner if inner is not None else answer)
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."


def parse(content: bytes, key: str) -> Completion | Trouble:
    """Return the completion in the body of an answer with status 200."""
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        finish_reason = choice.get("finish_reason") or "unknown"
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        if not isinstance(text, str) or not isinstance(finish_reason, str):
            raise TypeError("content and finish_reason must be texts")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return Trouble("bad_response", f"{type(error).__name__}: {error}; the answer was: {said(content)}")
    if finish_reason in _GIVEN_UP:
        return Trouble("server_error", f"the reply ended with finish_reason {finish_reason}")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Completion(
        key=key,
        text=_clean(text),
        finish_reason=finish_reason,
        reasoning=_clean(reasoning) if isinstance(reasoning, str) else None,
        model=answer.get("model") if isinstance(answer.get("model"), str) else None,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def models(content: bytes) -> list[str] | None:
    """Return the model names in the body of a ``/models`` answer, or null where it is no such list."""
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        return [str(model["id"]) for model in json.loads(content)["data"]]
    return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _clean(text: str) -> str:
    """Replace lone surrogates, which JSON can carry but no file and no Arrow table."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
