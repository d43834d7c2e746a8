"""What a preview tells of a seed: every request, reply and verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from curator_sdg.records import Record
from curator_sdg.teacher import Message


@dataclass(frozen=True)
class Turn:
    """One request and what came of it.

    Attributes:
        template: The file that its prompt was made from: ``generate/selection.j2``.
        model: As it was asked for.
        messages: The whole chat.
        sampling: As the request's body has it.
        reply: As it came; null where there is none.
        reasoning: A reasoning model's thinking, where it is kept apart.
        finish_reason: ``stop``, ``length``, ...
        prompt_tokens: As the endpoint counts them; null where it does not.
        cached_tokens: Of these, read from its prefix cache.
        completion_tokens: As the endpoint counts them.
        fault: What is wrong with the reply's form, or why there is none; null where it is as asked for.
        known: Whether an earlier preview had asked, so that nothing was paid now.
    """

    template: str
    model: str
    messages: tuple[Message, ...]
    sampling: dict[str, Any]
    reply: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    fault: str | None = None
    known: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a step made of a row; ``stage``, ``reason`` and ``detail`` say why it did not go on."""

    state: Literal["accepted", "rejected", "pending"]
    stage: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class VoteTrial:
    """One sample of the answer to a question.

    Attributes:
        sample: Its number.
        style: ``knowledge`` or ``reasoning``.
        outcome: ``answered``, or what else the vote counts it as; ``pending`` where transport failed.
        answer: The answer that was counted, null where there is none.
        turns: The request, and correction turns after it.
    """

    sample: int
    style: str
    outcome: str
    answer: str | None
    turns: list[Turn]


@dataclass(frozen=True)
class ExampleTrial:
    """One variant of the text to train on."""

    variant: str
    verdict: Verdict
    text: str | None = None


@dataclass(frozen=True)
class QuestionTrial:
    """A question that was asked for, and how far it came.

    Attributes:
        sample: Which of the questions of its seed.
        turns: The request, and correction turns after it.
        verdicts: By step, of the steps that it came to but for ``package``.
        question: The record (schema ``QUESTION``), null where there is none.
        votes: The samples of its answer.
        answer: The record (schema ``ANSWER``), null where the vote found none.
        examples: What would be packaged.
    """

    sample: int
    turns: list[Turn]
    verdicts: dict[str, Verdict]
    question: Record | None = None
    votes: list[VoteTrial] = field(default_factory=list)
    answer: Record | None = None
    examples: list[ExampleTrial] = field(default_factory=list)


@dataclass(frozen=True)
class SeedTrial:
    """A seed (schema ``SEED``) and the questions that were written after it."""

    seed: Record
    questions: list[QuestionTrial]
