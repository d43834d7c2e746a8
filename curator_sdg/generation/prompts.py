"""Prompts are Jinja files, chosen by one table.

A template has two blocks, ``system`` and ``user``. What all items of a kind share stands in ``system`` and comes
first, so that an endpoint's prefix cache serves it; what changes from item to item stands in ``user``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from curator_sdg.errors import ConfigError
from curator_sdg.identity import stable_hash, tidy
from curator_sdg.records import AnswerFormat, Framing, Record, Style
from curator_sdg.teacher.base import Message

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
_NUMBER = PromptChoice("short_answer", "short_answer", ("question", "worked", "answer"))
_SHORT = PromptChoice("short_answer", "short_answer", ("question", "answer"))
_CODE = PromptChoice("code", "code", ("question", "answer", "tests"))

_TABLE: dict[tuple[Framing, AnswerFormat], PromptChoice] = {
    ("selection", "option"): _SELECTION,
    ("completion", "option"): _COMPLETION,
    ("classification", "label"): _CLASSIFICATION,
    ("classification", "boolean"): _CLASSIFICATION,
    ("short_answer", "number"): _NUMBER,
    ("short_answer", "expression"): _SHORT,
    ("short_answer", "span"): _SHORT,
    ("short_answer", "text"): _SHORT,
    ("free_form", "number"): _NUMBER,
    ("free_form", "expression"): _SHORT,
    ("free_form", "text"): _SHORT,
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

LANGUAGES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "eu": "Basque",
    "fr": "French",
    "hi": "Hindi",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "ru": "Russian",
    "sw": "Swahili",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def prompt_choice(record: Record) -> PromptChoice | None:
    """Return the table's entry for a seed or question, or null where there is none."""
    return PROMPTS.get((record["framing"], record["answer_format"], bool(record["context"])))


def language_name(tag: str) -> str:
    """Return a language's English name; an unknown tag is given as it is."""
    return LANGUAGES.get(tag.partition("-")[0], f"the language with the code {tag!r}")


class Prompts:
    """The templates of one step, some of them perhaps the user's own.

    Args:
        step: ``generate`` or ``enrich``.
        override: A folder whose files replace those of the same name (``selection.j2``).

    Raises:
        ConfigError: If ``override`` is missing, or holds a file that is no template of the step.
    """

    def __init__(self, step: str, override: Path | None = None) -> None:
        self.step = step
        self.override = override
        shipped = sorted(path.name for path in (_FOLDER / step).glob("*.j2"))
        loaders: list[jinja2.BaseLoader] = [jinja2.PrefixLoader({step: jinja2.FileSystemLoader(_FOLDER / step)})]
        if override is not None:
            if not override.is_dir():
                raise ConfigError(f"{step}.prompts: {override.absolute()} is no folder")
            own = sorted(path.name for path in override.glob("*.j2"))
            if unknown := sorted(set(own) - set(shipped)):
                raise ConfigError(
                    f"{step}.prompts: {override / unknown[0]} replaces no template; known: {', '.join(shipped)}"
                )
            loaders.insert(0, jinja2.PrefixLoader({step: jinja2.FileSystemLoader(override)}))
        self._names = shipped
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader(loaders),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,  # of an included part
            autoescape=False,  # noqa: S701 - plain text for a language model, no markup
        )

    def render(self, name: str, **variables: Any) -> tuple[Message, ...]:
        """Return the system and user message of template ``name``.

        Raises:
            ConfigError: If a template of the user's cannot be rendered.
        """
        try:
            template = self._environment.get_template(f"{self.step}/{name}.j2")
            context = template.new_context(variables)
            return tuple(
                Message(role=role, content=tidy("".join(template.blocks[role](context))))
                for role in ("system", "user")
            )
        except KeyError as error:
            raise ConfigError(f"{self.step}.prompts: {name}.j2 has no block {error}") from None
        except jinja2.TemplateError as error:
            raise ConfigError(f"{self.step}.prompts: {name}.j2: {type(error).__name__}: {error}") from None

    @cached_property
    def hash(self) -> str:
        """A digest of every template of the step as it is used, for the step's fingerprint."""
        sources = []
        for name in self._names:
            source, _, _ = self._environment.loader.get_source(  # type: ignore[union-attr]
                self._environment, f"{self.step}/{name}"
            )
            sources.append([name, source])
        return stable_hash(sources)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled templates do not pickle; a worker compiles its own.
        return {"step": self.step, "override": self.override}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["step"], state["override"])  # type: ignore[misc]


def generation_messages(
    prompts: Prompts, choice: PromptChoice, seed: Record, target: str | None
) -> tuple[Message, ...]:
    """Return the messages that ask for one new item after ``seed``.

    ``target`` is the label that a classification item must have, null for other framings.
    """
    return prompts.render(
        choice.generate,
        seed=seed,
        target=target,
        has_context=bool(seed["context"]),
        depth=DEPTHS[seed["depth"]],
        language=language_name(seed["language"]),
    )


def enrichment_messages(
    prompts: Prompts, choice: PromptChoice, question: Record, style: Style, options: Sequence[str] | None
) -> tuple[Message, ...]:
    """Return the messages that ask for one answer to ``question`` with its options in the order given."""
    return prompts.render(
        choice.enrich,
        question=question,
        options=options,
        style=style,
        has_context=bool(question["context"]),
        answer_format=question["answer_format"],
        language=language_name(question["language"]),
    )
