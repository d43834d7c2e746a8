"""From a reply's text to a checked JSON object, or to the reason why there is none."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

import json_repair
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from curator_sdg.teacher.base import Completion

BadReply = Literal["cut", "garbage", "schema"]

_THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)
# A teacher that writes LaTeX into JSON forgets to double its backslashes: "\frac" and "\beta" then read as a form
# feed or a backspace. No text of ours has such characters, so they can be put back without doubt.
_EATEN = {"\f": "\\f", "\b": "\\b"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Parsed(NamedTuple):
    """A reply's content, or why it has none.

    Attributes:
        value: The object, null where the reply is bad.
        reason: ``cut`` (ended for want of room), ``garbage`` (no JSON object in it), ``schema`` (not the object
            that was asked for); null where it is good.
        detail: What exactly is wrong.
    """

    value: dict[str, Any] | None
    reason: BadReply | None = None
    detail: str = ""


def parse_reply(completion: Completion, schema: dict[str, Any]) -> Parsed:
    """Read the JSON object in a completion and hold it against ``schema``.

    A cut reply is not repaired: what is missing is content, not a bracket.
    """
    if completion.cut:
        return Parsed(None, "cut", f"the reply ended after {len(completion.text)} characters for want of room")
    value = read_object(completion.text)
    if value is None:
        return Parsed(None, "garbage", "the reply holds no JSON object")
    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path)
        return Parsed(None, "schema", f"{where}: {error.message}" if where else error.message)
    return Parsed(value)


def read_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, tolerating a code fence, prose around it and small slips."""
    body = _THINKING.sub("", text).strip()
    if fenced := _FENCED.search(body):
        body = fenced[1]
    try:
        value = json.loads(body, strict=False)
    except ValueError:
        start, end = body.find("{"), body.rfind("}")
        if start < 0 or end < start:
            return None
        value = json_repair.loads(body[start : end + 1], skip_json_loads=False)
    return _clean(value) if isinstance(value, dict) and value else None


def _clean(value: Any) -> Any:
    """Strip texts, and put back what JSON's escapes ate."""
    if isinstance(value, str):
        for eaten, meant in _EATEN.items():
            value = value.replace(eaten, meant)
        return _CONTROL.sub("", value).replace("\r\n", "\n").strip("\n ")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return value
