"""Whether a text can be the answer to a question at all, whoever gave it."""

from __future__ import annotations

from curator_sdg.identity import normalise, normalise_answer, spell_powers
from curator_sdg.records import Record
from curator_sdg.verifiers.code import defined_names
from curator_sdg.verifiers.number import parse_number
from curator_sdg.verifiers.options import match_option
from curator_sdg.verifiers.scripts import stands_in


def usable(record: Record, answer: str) -> bool:
    """Whether ``answer`` has the form that the question (schema ``QUESTION``) asks for.

    That is one of the options where there are any, else a number, a span of the passage, or a program that parses
    and, where there are tests, defines something that they can call.
    """
    if record["options"]:
        return match_option(record["options"], answer) is not None
    kind = record["answer_format"]
    if kind == "number":
        return parse_number(answer) is not None
    if kind == "span":
        return stands_in(normalise_answer(answer), normalise(spell_powers(record["context"] or "")))
    if kind == "code":
        defined = defined_names(answer)
        return bool(answer.strip()) and defined is not None and bool(defined or not record["tests"])
    return bool(answer.strip())
