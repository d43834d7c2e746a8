"""From a reply's text to a checked JSON object, or to the reason why there is none."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import json_repair
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from curator_sdg.generation.latex import EATEN, mend_escapes
from curator_sdg.teacher.base import Completion

BadReply = Literal["cut", "garbage", "schema"]

_THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
# A fence ends at the start or at the end of a line: one inside a JSON text ("```python\n...```") does neither.
_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:^[ \t]*```|```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
# How json-repair fails on nonsense, by its own assertions too.
_REPAIR_FAULTS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, RecursionError)
_DEEPEST = 32  # levels; what is asked for has three
_MOST_OBJECTS = 64  # that are looked at in one reply's prose
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
    value = read_object(completion.text, schema)
    if value is None:
        return Parsed(None, "garbage", "the reply holds no JSON object")
    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path)
        return Parsed(None, "schema", f"{where}: {error.message}" if where else error.message)
    return Parsed(value)


def read_object(text: str, schema: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, tolerating code fences, prose around it and small slips.

    Of several the last that ``schema`` allows is the one: teachers draft before they answer. If none is allowed, or
    there is no schema, one that is JSON as it stands comes before one that had to be repaired.
    """
    body = _THINKING.sub("", text).strip()
    found: list[dict[str, Any]] = []
    repaired: list[dict[str, Any]] = []
    for part, as_it_stands in _parts(body):
        value = _load(part) if as_it_stands else _repair(part)
        if value is None:
            continue
        if schema is not None and Draft202012Validator(schema).is_valid(value):
            return value
        (found if as_it_stands else repaired).append(value)
    return next(iter(found + repaired), None)


def _parts(body: str) -> Iterator[tuple[str, bool]]:
    """Yield where the object may stand, the likeliest first, and whether it is to be read without repair."""
    yield body, True
    for fenced in reversed(_FENCED.findall(body)):
        yield fenced, True
        yield fenced, False
    for part in reversed(_objects(body)):
        yield part, True
    yield body, False


def _objects(body: str) -> list[str]:
    """Return the texts of the outermost objects in ``body``, in order."""
    mended = mend_escapes(body)
    decoder = json.JSONDecoder(strict=False)
    found: list[str] = []
    start = mended.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            break
        end = start + 1
        with contextlib.suppress(ValueError, RecursionError):
            _, end = decoder.raw_decode(mended, start)
            found.append(mended[start:end])
        start = mended.find("{", end)
    return found


def _load(text: str) -> dict[str, Any] | None:
    try:
        return _object(json.loads(mend_escapes(text), strict=False))
    except (ValueError, RecursionError):  # no JSON, endless nesting, a number of thousands of digits
        return None


def _repair(text: str) -> dict[str, Any] | None:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        return _object(json_repair.loads(mend_escapes(text[start : end + 1]), skip_json_loads=False))
    except _REPAIR_FAULTS:
        return None


def _object(value: Any) -> dict[str, Any] | None:
    """Return a read value if it is an object with something in it.

    Raises:
        ValueError: It is nested beyond reason.
    """
    return _clean(value) if isinstance(value, dict) and value else None


def _clean(value: Any, depth: int = 0) -> Any:
    """Strip texts, put back what JSON's escapes ate, and replace what no file can carry."""
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        for eaten, meant in EATEN.items():
            value = value.replace(eaten, meant)
        return _CONTROL.sub("", _whole(value)).replace("\r\n", "\n").strip("\n ")
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _clean(item, depth + 1) for key, item in value.items()}
    return value


def _whole(text: str) -> str:
    """Replace lone surrogates, which JSON's escapes can spell but no file and no Arrow table can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
