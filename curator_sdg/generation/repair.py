"""Correction turns: a teacher whose reply does not validate is told why, and replies again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from curator_sdg.generation.parsing import parse_reply
from curator_sdg.teacher.base import Completion, Failure, Message, Outcome, Request
from curator_sdg.templates import BlockTemplates

_QUOTED = 400  # characters of what is wrong; a schema's message may quote the whole reply

Ask = Callable[[Sequence[Request]], Sequence[Outcome]]


class Asked(NamedTuple):
    """What came of one request.

    Attributes:
        outcome: The one that counts: of the last turn that was answered, or a failure.
        turns: Every completion that was paid for on the way, the counting one last.
    """

    outcome: Outcome
    turns: tuple[Completion, ...]


class Corrections(BlockTemplates):
    """The template of a correction turn."""

    def __init__(self) -> None:
        super().__init__("corrections", Path(__file__).parent / "prompts" / "correction", ("user",))

    def messages(self, request: Request, reply: Completion) -> tuple[Message, ...] | None:
        """Return the chat that asks for a reply to be put right; null where there is nothing to put right.

        A reply that was cut lacks content, which no correction brings: the next one would be cut as well.
        """
        if request.schema is None:
            return None
        value, reason, detail = parse_reply(reply, request.schema)
        if value is not None or reason == "cut":
            return None
        short = detail if len(detail) <= _QUOTED else detail[:_QUOTED] + " ..."
        (text,) = self.render("correction", reason=reason, detail=short)
        said, asked = Message(role="assistant", content=reply.text), Message(role="user", content=text)
        return (*request.messages, said, asked)


def ask_with_repairs(
    ask: Ask,
    requests: Sequence[Request],
    attempts: int,
    corrections: Corrections,
    fits: Callable[[Sequence[Message]], bool] = lambda _: True,
) -> list[Asked]:
    """Ask, and have replies that do not validate put right, in at most ``attempts`` further turns each.

    A correction that fails in transport makes the whole request one that failed, to be asked again; one that the
    server refuses, or that does not fit, leaves the reply as it was.

    Args:
        ask: Returns an outcome for each request, in order.
        requests: First turns.
        attempts: Of ``generate.repair_attempts`` or ``enrich.repair_attempts``.
        corrections: The template.
        fits: Whether a chat is short enough for the teacher.
    """
    asked = [_first(outcome) for outcome in ask(requests)]
    latest = list(requests)
    left: Sequence[int] = range(len(latest))
    for turn in range(1, attempts + 1):
        again: dict[int, Request] = {}
        for at in left:
            outcome = asked[at].outcome
            messages = corrections.messages(latest[at], outcome) if isinstance(outcome, Completion) else None
            if messages is not None and fits(messages):
                again[at] = replace(latest[at], messages=messages, repair=turn)
        if not again:
            break
        for at, outcome in zip(again, ask(list(again.values())), strict=True):
            if isinstance(outcome, Completion):
                asked[at] = Asked(outcome, (*asked[at].turns, outcome))
                latest[at] = again[at]
            elif isinstance(outcome, Failure):
                asked[at] = Asked(outcome, asked[at].turns)
        left = [at for at in again if latest[at] is again[at]]
    return asked


def _first(outcome: Outcome) -> Asked:
    return Asked(outcome, (outcome,) if isinstance(outcome, Completion) else ())
