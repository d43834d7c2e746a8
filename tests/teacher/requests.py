"""Requests and configurations for the teacher's tests."""

from __future__ import annotations

from typing import Any

from curator_sdg.config import TeacherSection
from curator_sdg.teacher import Completion, Outcome, Request
from tests.endpoint import Endpoint

MODEL = "test-model"
SCHEMA = {
    "type": "object",
    "properties": {
        "question": {"type": "string"},
        "options": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 4},
        "level": {"enum": ["fact", "comparison"]},
        "count": {"type": "integer", "minimum": 2, "maximum": 5},
    },
    "required": ["question", "options", "level", "count"],
    "additionalProperties": False,
}


def make_request(number: int, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "record_id": f"seed-{number}",
        "step": "generate",
        "sample": 0,
        "messages": ({"role": "user", "content": f"Write a question about item {number}."},),
        "model": MODEL,
        "sampling": {"temperature": 0.7, "max_tokens": 64},
        "schema": SCHEMA,
    }
    return Request(**fields | changes)


def make_requests(n: int, first: int = 0) -> list[Request]:
    return [make_request(number) for number in range(first, first + n)]


def config_for(*endpoints: Endpoint, **changes: Any) -> TeacherSection:
    urls = tuple(endpoint.url for endpoint in endpoints)
    return TeacherSection.model_validate({"model": MODEL, "base_urls": urls, "max_in_flight": 8} | changes)


def completions(outcomes: list[Outcome]) -> list[Completion]:
    assert all(isinstance(outcome, Completion) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Completion)]
