"""A teacher that does as a test tells it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from curator_sdg.config import TeacherSection
from curator_sdg.teacher import Completion, Failure, Outcome, Request
from curator_sdg.teacher.base import Answer, Trouble
from curator_sdg.teacher.dispatch.places import Place, Places
from tests.teacher.requests import MODEL


def settings(at_once: int, **changes: Any) -> TeacherSection:
    """Return the section of a teacher with so many requests at once; without retries, unless they are asked for."""
    fields = {"model": MODEL, "base_urls": ("http://localhost:1/v1",), "max_in_flight": at_once, "max_retries": 0}
    return TeacherSection.model_validate(fields | changes)


class Scripted:
    """A teacher that answers what it is told to, and can be held.

    What it is told to answer with a failure goes wrong each time it is asked.
    """

    def __init__(
        self,
        outcomes: dict[str, Outcome | Exception] | None = None,
        *,
        held: bool = False,
        places: Sequence[str] = ("somewhere",),
    ) -> None:
        self.outcomes = outcomes or {}
        self.asked: list[str] = []
        self.closed = False
        self.held = held
        self.some_asked = threading.Event()
        self._names = places

    def reply(self, request: Request) -> Outcome:
        return Completion(request.key, f"on {request.record_id}", "stop")

    async def open(self, places: Places) -> None:
        for name in self._names:
            places.add(name)

    async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
        outcomes: list[Any] = [await self.answer(request) for request in requests]
        failed = next((outcome for outcome in outcomes if isinstance(outcome, Failure)), None)
        return Trouble(failed.reason, failed.detail) if failed is not None else outcomes

    async def answer(self, request: Request) -> Outcome:
        self.asked.append(request.record_id)
        self.some_asked.set()
        while self.held:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.005)
        outcome = self.outcomes.get(request.record_id) or self.reply(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        self.closed = True
