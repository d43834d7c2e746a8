"""Prompts are Jinja files, chosen by one table.

A template has two blocks, ``system`` and ``user``. What all items of a kind share stands in ``system`` and comes
first, so that an endpoint's prefix cache serves it; what changes from item to item stands in ``user``, and what
changes among the items after one seed at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import langcodes

from curator_sdg.generation import angles
from curator_sdg.generation.angles import Angles
from curator_sdg.identity import stable_hash
from curator_sdg.records import QUESTION, SEED, AnswerFormat, Framing, Record, Style
from curator_sdg.teacher.base import Message
from curator_sdg.templates import BlockTemplates

_FOLDER = Path(__file__).parent / "prompts"

Field = str  # a key of the reply: context, question, options, worked, answer, tests


class PromptChoice(NamedTuple):
    """The templates for one kind of item, and what a new item of it consists of."""

    generate: str
    enrich: str
    fields: tuple[Field, ...]


_SELECTION = PromptChoice("selection", "selection", ("question", "options", "answer"))
_COMPLETION = PromptChoice("completion", "selection", ("question", "options", "answer"))
_CLASSIFICATION = PromptChoice("classification", "classification", ("question", "answer"))
_WORKED = PromptChoice("short_answer", "short_answer", ("question", "worked", "answer"))
_SHORT = PromptChoice("short_answer", "short_answer", ("question", "answer"))
_FREE = PromptChoice("free_form", "free_form", ("question", "answer"))
_CODE = PromptChoice("code", "code", ("question", "answer", "tests"))

_TABLE: dict[tuple[Framing, AnswerFormat], PromptChoice] = {
    ("selection", "option"): _SELECTION,
    ("completion", "option"): _COMPLETION,
    ("classification", "label"): _CLASSIFICATION,
    ("classification", "boolean"): _CLASSIFICATION,
    ("short_answer", "number"): _WORKED,
    ("short_answer", "expression"): _WORKED,
    ("short_answer", "span"): _SHORT,
    ("short_answer", "text"): _SHORT,
    ("free_form", "number"): _WORKED,
    ("free_form", "expression"): _WORKED,
    ("free_form", "text"): _FREE,
    ("code", "code"): _CODE,
}

# The table in full: (framing, answer_format, has_context). With a context the reply brings one of its own.
PROMPTS: dict[tuple[str, str, bool], PromptChoice] = {
    (framing, answer_format, has_context): (
        choice._replace(fields=("context", *choice.fields)) if has_context else choice
    )
    for (framing, answer_format), choice in _TABLE.items()
    for has_context in (False, True)
    if not (framing in ("completion", "code") and has_context)
}

DEPTHS = {
    "fact": "knowing or recognising one fact or idea",
    "comparison": "weighing a few possibilities against each other with knowledge of how things work",
    "multi_step": "several steps, each building on the one before",
}


def prompt_choice(record: Record) -> PromptChoice | None:
    """Return the table's entry for a seed or question, or null where there is none."""
    return PROMPTS.get((record["framing"], record["answer_format"], bool(record["context"])))


def language_name(tag: str) -> str:
    """Return a language's English name, with its script or region where the tag has one."""
    return langcodes.Language.get(tag).display_name()


class Prompts(BlockTemplates):
    """The templates of one step and, where it has some, its angles, some of them perhaps the user's own.

    Args:
        step: ``generate`` or ``enrich``.
        override: A folder whose files replace those of the same name (``selection.j2``, ``angles.yaml``).

    Raises:
        ConfigError: If ``override`` is missing, or holds a file that is no template of the step.
    """

    def __init__(self, step: str, override: Path | None = None) -> None:
        super().__init__(f"{step}.prompts", _FOLDER / step, ("system", "user"), override)

    @cached_property
    def angles(self) -> Angles | None:
        """What angles are drawn from, null for a step without.

        Raises:
            ConfigError: If a file of the user's cannot be read.
        """
        where, shipped, _, override = self._state
        for folder in filter(None, (override, shipped)):
            if (path := folder / angles.NAME).exists():
                return Angles(path, where)
        return None

    @property
    def hash(self) -> str:
        """A digest of every template and angle as it is used, for the step's fingerprint."""
        templates = super().hash
        return templates if self.angles is None else stable_hash(templates, self.angles.digest)

    def angle(self, record: Record, seed: int, sample: int) -> str:
        """Return the angle that sample ``sample`` of a seed is to take, empty where there is none."""
        return self.angles.angle(record, seed, sample) if self.angles else ""

    def messages(self, name: str, **variables: Any) -> tuple[Message, ...]:
        """Return the system and user message of template ``name``.

        Raises:
            ConfigError: If a template of the user's cannot be rendered.
        """
        system, user = self.render(name, **variables)
        return Message(role="system", content=system), Message(role="user", content=user)


def generation_messages(
    prompts: Prompts, choice: PromptChoice, seed: Record, target: str | None, angle: str = ""
) -> tuple[Message, ...]:
    """Return the messages that ask for one new item after ``seed``.

    ``target`` is the label that a classification item must have, null for other framings; ``angle`` is where the new
    item may come from, empty for none.
    """
    return prompts.messages(
        choice.generate,
        seed=seed,
        target=target,
        angle=angle,
        has_context=bool(seed["context"]),
        depth=DEPTHS[seed["depth"]],
        language=language_name(seed["language"]),
    )


def enrichment_messages(
    prompts: Prompts, choice: PromptChoice, question: Record, style: Style, options: Sequence[str] | None
) -> tuple[Message, ...]:
    """Return the messages that ask for one answer to ``question`` with its options in the order given."""
    return prompts.messages(
        choice.enrich,
        question=question,
        options=options,
        style=style,
        has_context=bool(question["context"]),
        answer_format=question["answer_format"],
        language=language_name(question["language"]),
    )


def check_prompts(generate: Prompts, enrich: Prompts) -> None:
    """Render every prompt of the table once, so that a mistake in one shows before anything is asked.

    Raises:
        ConfigError: Naming the template that cannot be rendered.
    """
    for (framing, answer_format, has_context), choice in PROMPTS.items():
        common = {
            "framing": framing,
            "answer_format": answer_format,
            "context": "context" if has_context else None,
            "options": ["one", "two"] if answer_format in ("option", "label", "boolean") else None,
            "tests": ["assert f(1) == 1"] if answer_format == "code" else None,
            "depth": "fact",
            "language": "en",
        }
        seed = {**dict.fromkeys(SEED.names, "text"), **common}
        target = "one" if framing == "classification" else None
        generation_messages(generate, choice, seed, target, generate.angle(seed, 0, 0))
        question = {**dict.fromkeys(QUESTION.names, "text"), **common}
        for style in ("knowledge", "reasoning"):
            enrichment_messages(enrich, choice, question, style, question["options"])
