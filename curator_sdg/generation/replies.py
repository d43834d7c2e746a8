"""The JSON that the teacher is asked for: one schema a kind of reply, for asking and for checking alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from curator_sdg.records import Record, Style

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_TEXTS: Schema = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 12}
_DISTRACTORS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"option": _TEXT, "why": _TEXT},
        "required": ["option", "why"],
        "additionalProperties": False,
    },
}
STATUSES = ("answered", "several_right", "none_right", "unclear")


def _object(properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def question_schema(fields: Sequence[str], seed: Record, target: str | None) -> Schema:
    """Return the schema of a new item: ``fields`` of the prompt table after a skill and a topic.

    The number of options is the seed's; a classification's answer is the label that was drawn.
    """
    properties: dict[str, Schema] = {"skill": _TEXT, "topic": _TEXT}
    for field in fields:
        if field == "options":
            n = len(seed["options"])
            properties[field] = {**_TEXTS, "minItems": n, "maxItems": n}
        elif field == "tests":
            properties[field] = {**_TEXTS, "minItems": 3, "maxItems": 5}
        elif field == "answer" and target is not None:
            properties[field] = {"type": "string", "enum": [target]}
        else:
            properties[field] = _TEXT
    return _object(properties)


@lru_cache
def answer_schema(style: Style, *, distractors: bool) -> Schema:
    """Return the schema of an enriched answer in one style."""
    properties: dict[str, Schema] = {}
    if style == "knowledge":
        properties["knowledge"] = _TEXT
    properties["reasoning"] = _TEXT
    if distractors:
        properties["distractors"] = _DISTRACTORS
    properties["status"] = {"type": "string", "enum": list(STATUSES)}
    properties["answer"] = {"type": "string"}
    return _object(properties)
