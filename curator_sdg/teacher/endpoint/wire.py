"""The OpenAI-compatible chat format: a request's body, and what a server's answer means.

Nothing here touches the network. What an answer means is decided by its status and shape, never by the words of an
error message.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from curator_sdg.teacher.base import Completion, Request, Trouble

_RETRY_AFTER_MAX_S = 300.0
_QUOTED = 500  # characters of a server's message
_LOOKED_AT = 100_000  # bytes in which it is looked for: a longer answer holds up all others meanwhile
# Statuses under which the same request may succeed later, by the reason that a failure then has.
_RETRIED: dict[int, str] = {
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.CONFLICT: "server_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit",
}
# The server is asked too much: the last is what Anthropic and some gateways send.
_OVERLOADED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, 529)
# The engine gave up on the reply midway, in vLLM's and OpenRouter's words; what it holds is no reply.
_GIVEN_UP = ("abort", "error")
_THINK, _THOUGHT = "<think>", "</think>"
_MOST_TOKENS = 1 << 40  # more are no count of one reply, and sums of them would not fit a column


class _Choice(NamedTuple):
    text: str
    finish_reason: str
    reasoning: str | None


def body(request: Request, n: int = 1) -> bytes:
    """Return the body of a chat completion request that asks for ``n`` samples."""
    payload: dict[str, Any] = {"model": request.model, "messages": request.messages, **request.sampling}
    if n > 1:
        payload["n"] = n
    if request.schema is not None and request.structured == "json_schema":
        payload["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": request.schema, "strict": True},
        }
    elif request.schema is not None and request.structured == "structured_outputs":
        payload["structured_outputs"] = {"json": request.schema}
    elif request.schema is not None and request.structured == "json_object":
        payload["response_format"] = {"type": "json_object"}
    return json.dumps(payload).encode()


def retried(status: int, content: bytes, after: str | None) -> Trouble | None:
    """Return the trouble that an HTTP status means, or null for one that is final.

    Args:
        status: Other than 200.
        content: The body of the answer.
        after: Its ``Retry-After`` header.
    """
    reason = _RETRIED.get(status, "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)
    if reason is None:
        return None
    return Trouble(reason, f"HTTP {status}: {said(content)}", retry_after(after), status in _OVERLOADED)


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
    text = content[:_LOOKED_AT].decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(text)
        if isinstance(answer, dict):
            error = answer.get("error", answer)
            inner = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
            text = inner if isinstance(inner, str) else json.dumps(inner if inner is not None else answer)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."


def parse(content: bytes, keys: Sequence[str]) -> list[Completion] | Trouble:
    """Return the completions in the body of an answer with status 200.

    Args:
        content: The body.
        keys: Of the samples that were asked for.

    Returns:
        As many as there are choices that are replies, under the first keys; or the trouble, where there is none. The
        server counts the prompt once, so its tokens stand with the first; those of the replies are shared out by
        length, so that all add up to what it counted.
    """
    try:
        answer = json.loads(content)
        found = [_choice(choice) for choice, _ in zip(answer["choices"], keys, strict=False)]
        if not found:
            raise LookupError("no choices")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return Trouble("bad_response", f"{type(error).__name__}: {error}; the answer was: {said(content)}")
    choices = [choice for choice in found if choice.finish_reason not in _GIVEN_UP]
    if not choices:
        return Trouble("server_error", f"the reply ended with finish_reason {found[0].finish_reason}")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    prompt = _count(usage.get("prompt_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    written = _shares(_count(usage.get("completion_tokens")), [_length(choice) for choice in choices])
    return [
        Completion(
            key=key,
            text=choice.text,
            finish_reason=choice.finish_reason,
            reasoning=choice.reasoning,
            model=answer.get("model") if isinstance(answer.get("model"), str) else None,
            prompt_tokens=0 if i and prompt is not None else prompt,
            cached_tokens=0 if i and cached is not None else cached,
            completion_tokens=written[i],
        )
        for i, (key, choice) in enumerate(zip(keys, choices, strict=False))
    ]


def models(content: bytes) -> list[str] | None:
    """Return the model names in the body of a ``/models`` answer, or null where it is no such list."""
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        return [str(model["id"]) for model in json.loads(content)["data"]]
    return None


def _choice(choice: Any) -> _Choice:
    """Return what one choice says.

    Raises:
        LookupError, TypeError, AttributeError: If it is no reply.
    """
    message = choice["message"]
    text, finish_reason = message.get("content") or "", choice.get("finish_reason") or "unknown"
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(text, list):
        thought, text = _joined(text, "thinking"), _joined(text, "text")
        reasoning = reasoning or thought or None
    if not isinstance(text, str) or not isinstance(finish_reason, str):
        raise TypeError("content and finish_reason must be texts")
    if not isinstance(reasoning, str):
        reasoning, text = _thinking(text, cut=finish_reason == "length")
    return _Choice(_clean(text), finish_reason, None if reasoning is None else _clean(reasoning))


def _joined(parts: list[Any], kind: str) -> str:
    """Return the parts of one kind, ``text`` or ``thinking``, of content that comes in parts.

    Mistral's reasoning models send it so, and what they think as a list of texts within a part of the other kind
    (docs.mistral.ai, "Reasoning").

    Raises:
        LookupError, TypeError: If a part is of neither kind.
    """
    if any(part["type"] not in ("text", "thinking") for part in parts):
        raise TypeError("content must be text")
    found = [part[kind] for part in parts if part["type"] == kind]
    return "".join(_joined(part, "text") if isinstance(part, list) else part for part in found)


def _thinking(text: str, *, cut: bool) -> tuple[str | None, str]:
    """Part what a reasoning model thinks from what it replies, where the server does not.

    A tag that is never closed is part of the reply, unless it was cut before it could be.
    """
    if not text.lstrip().startswith(_THINK):
        return None, text
    thought, closed, reply = text.lstrip().removeprefix(_THINK).partition(_THOUGHT)
    if not closed and not cut:
        return None, text
    return thought.strip() or None, reply.lstrip()


def _length(choice: _Choice) -> int:
    return len(choice.text) + len(choice.reasoning or "")


def _shares(total: int | None, lengths: list[int]) -> list[int | None]:
    """Return whole numbers that add up to ``total``, in proportion to ``lengths``; what rounding leaves goes last."""
    if total is None:
        return [None] * len(lengths)
    weights = lengths if any(lengths) else [1] * len(lengths)
    whole, so_far = sum(weights), 0
    shares: list[int | None] = []
    for end in itertools.accumulate(weights):
        shares.append(total * end // whole - so_far)
        so_far = total * end // whole
    return shares


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def _clean(text: str) -> str:
    """Replace lone surrogates, which JSON can carry but no file and no Arrow table."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
