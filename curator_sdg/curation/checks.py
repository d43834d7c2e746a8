"""What is wrong with a generated question, seen from itself alone: one small rule each.

A rule looks at a record (schema ``QUESTION``) and returns ``None``, or the reason and the detail of a reject. Which
rules a question must pass depends on what its answer is; see ``RULES``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from curator_sdg.identity import normalise, normalise_answer
from curator_sdg.records import Record
from curator_sdg.verifiers import parse_number, same_label

Finding = tuple[str, str]
Rule = Callable[[Record], Finding | None]

_CATCH_ALL = re.compile(
    r"^(?:all|none|both|neither|any|either)(?: of)?(?: the)?"
    r"(?: above| below| these| those| other(?: options| answers| choices)?| of the above)?$"
)
_LETTERED = re.compile(r"^\(?[A-Ha-h1-8][.):]\s")
_MENTIONS_SEED = re.compile(
    r"\bseed (?:item|question|problem|task|passage)\b|\b(?:original|previous) (?:item|question)\b"
)
_BLANK = re.compile(r"_+")


def options_differ(record: Record) -> Finding | None:
    """Options are at least two and all different."""
    folded = [normalise_answer(option) for option in record["options"]]
    if len(folded) < 2:
        return "too_few_options", f"{len(folded)} options"
    if len(set(folded)) < len(folded):
        twice = next(option for option, fold in zip(record["options"], folded, strict=True) if folded.count(fold) > 1)
        return "duplicate_options", f"{twice!r} stands more than once"
    return None


def answer_among_options(record: Record) -> Finding | None:
    """The proposed answer is one of the options, by its text."""
    proposed = record["proposed_answer"]
    if any(same_label(option, proposed) for option in record["options"]):
        return None
    return "answer_not_in_options", f"{proposed!r} is none of {record['options']}"


def no_catch_all(record: Record) -> Finding | None:
    """No option speaks of the others: "all of the above"."""
    for option in record["options"]:
        if _CATCH_ALL.match(normalise_answer(option)):
            return "catch_all_option", repr(option)
    return None


def no_letters(record: Record) -> Finding | None:
    """Options are texts, not "A. text"."""
    if all(_LETTERED.match(option) for option in record["options"]):
        return "lettered_options", repr(record["options"][0])
    return None


def one_blank(record: Record) -> Finding | None:
    """A completion has exactly one blank."""
    n = len(_BLANK.findall(record["question"]))
    return None if n == 1 else ("no_single_blank", f"{n} blanks in the text")


def is_number(record: Record) -> Finding | None:
    """A numeric answer is one number."""
    if parse_number(record["proposed_answer"]) is None:
        return "not_a_number", repr(record["proposed_answer"])
    return None


def span_in_context(record: Record) -> Finding | None:
    """A span stands in its passage."""
    if normalise_answer(record["proposed_answer"]) in normalise(record["context"] or ""):
        return None
    return "span_not_in_context", repr(record["proposed_answer"])


def code_parses(record: Record) -> Finding | None:
    """The solution is Python, and its tests are asserts that call a function of it."""
    try:
        defined = {node.name for node in ast.walk(ast.parse(record["proposed_answer"])) if hasattr(node, "name")}
    except (SyntaxError, ValueError) as error:
        return "code_syntax", f"solution: {error}"
    for test in record["tests"] or []:
        try:
            body = ast.parse(test).body
        except (SyntaxError, ValueError) as error:
            return "code_syntax", f"test {test!r}: {error}"
        called = {
            node.func.id
            for node in ast.walk(ast.Module(body, []))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        if not (body and all(isinstance(node, ast.Assert) for node in body) and called & defined):
            return "test_format", f"{test!r} is no assert on a function of the solution"
    return None


def stands_alone(record: Record) -> Finding | None:
    """The question does not speak of the item that it was written after."""
    found = _MENTIONS_SEED.search(f"{record['context'] or ''} {record['question']}")
    return ("mentions_seed", repr(found[0])) if found else None


_OPTION_RULES: tuple[Rule, ...] = (options_differ, answer_among_options, no_catch_all, no_letters)
RULES: dict[str, tuple[Rule, ...]] = {
    "option": _OPTION_RULES,
    "label": (answer_among_options,),
    "boolean": (answer_among_options,),
    "number": (is_number,),
    "span": (span_in_context,),
    "code": (code_parses,),
}


def findings(record: Record) -> Iterator[Finding]:
    """Yield what is wrong with a question, the first finding being the reason to reject it."""
    rules = (stands_alone, *RULES.get(record["answer_format"], ()))
    if record["framing"] == "completion":
        rules = (*rules, one_blank)
    for rule in rules:
        if (finding := rule(record)) is not None:
            yield finding
