"""What is wrong with a generated question, seen from itself alone: one small rule each.

A rule looks at a record (schema ``QUESTION``) and returns ``None``, or the reason and the detail of a reject. Which
rules a question must pass depends on what its answer is; see ``RULES``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from curator_sdg.identity import normalise_answer
from curator_sdg.records import Record
from curator_sdg.verifiers import match_option, option_key, parse_code, usable

Finding = tuple[str, str]
Rule = Callable[[Record], Finding | None]

_CATCH_ALL = re.compile(
    r"""^(?:all|none|both|neither|any|either|each)
        (?: (?:\ of)?(?:\ the)?\ (?:above|below|foregoing|preceding)\b.*       # all of the above are correct
          | (?:\ of)?(?:\ (?:the|these|those|other))*(?:\ (?:options|answers|choices|alternatives|statements))?
            (?:\ (?:is|are)\ (?:correct|right|true|wrong|incorrect|false))?     # none of these
          | (?:\ of)?(?:\ options?)?\ \(?[a-h]\)?\ (?:and|or|nor)\ \(?[a-h]\)?(?:\ (?:is|are)\ \w+)?  # both a and b
        )$""",
    re.VERBOSE,
)
_JOINED_START = re.compile(r"^(?:both|either|neither)\b")
_JOINING = frozenset({"both", "either", "neither", "and", "or", "nor", "as", "well", "with", "only", "the"})
_LETTERED = re.compile(r"^\(?([A-Ha-h1-8])[.):]\s")
_MENTIONS_SEED = re.compile(
    r"\bseed (?:item|question|problem|task|passage)\b|\b(?:original|previous) (?:item|question)\b"
)
_BLANK = re.compile(r"_+")


def options_differ(record: Record) -> Finding | None:
    """Options are at least two and all different."""
    folded = [option_key(option) for option in record["options"]]
    if len(folded) < 2:
        return "too_few_options", f"{len(folded)} options"
    if len(set(folded)) < len(folded):
        twice = next(option for option, fold in zip(record["options"], folded, strict=True) if folded.count(fold) > 1)
        return "duplicate_options", f"{twice!r} stands more than once"
    return None


def answer_among_options(record: Record) -> Finding | None:
    """The proposed answer is one of the options, by its text."""
    proposed = record["proposed_answer"]
    if match_option(record["options"], proposed) is not None:
        return None
    return "answer_not_in_options", f"{proposed!r} is none of {record['options']}"


def no_catch_all(record: Record) -> Finding | None:
    """No option speaks of the others ("all of the above") or is two of them in one ("oxygen and neon")."""
    folded = [normalise_answer(option) for option in record["options"]]
    for i, option in enumerate(record["options"]):
        if _CATCH_ALL.match(folded[i]) or _joins(folded[i], folded[:i] + folded[i + 1 :]):
            return "catch_all_option", repr(option)
    return None


def _joins(option: str, others: list[str]) -> bool:
    """Whether an option is two or more of the others with nothing but "both", "and" or "or" between them."""
    rest, found = option, 0
    for other in sorted(set(others) - {option, ""}, key=len, reverse=True):  # "carbon dioxide" before "carbon"
        rest, count = re.subn(rf"(?<!\w){re.escape(other)}(?!\w)", " | ", rest)
        found += count > 0
    words = [word for word in re.split(r"[\s,|]+", rest) if word]
    return found > 1 and bool(words) and (bool(_JOINED_START.match(option)) or _JOINING.issuperset(words))


def no_letters(record: Record) -> Finding | None:
    """Options are texts, not "A. text"."""
    found = {match[1].upper(): option for option in record["options"] if (match := _LETTERED.match(option))}
    # E. coli and C. difficile have letters too, but seldom those that a list begins with.
    run = max(map(ord, found)) - min(map(ord, found)) < len(found) if found else False
    if len(found) > 1 and (run or found.keys() & {"A", "1"}):
        return "lettered_options", repr(next(iter(found.values())))
    return None


def one_blank(record: Record) -> Finding | None:
    """A completion has exactly one blank."""
    n = len(_BLANK.findall(record["question"]))
    return None if n == 1 else ("no_single_blank", f"{n} blanks in the text")


def is_number(record: Record) -> Finding | None:
    """A numeric answer is one number."""
    return None if usable(record, record["proposed_answer"]) else ("not_a_number", repr(record["proposed_answer"]))


def span_in_context(record: Record) -> Finding | None:
    """A span stands in its passage, as whole words."""
    proposed = record["proposed_answer"]
    return None if usable(record, proposed) else ("span_not_in_context", repr(proposed))


def code_parses(record: Record) -> Finding | None:
    """The solution is Python, and its tests are asserts that call a function of it."""
    try:
        defined = {node.name for node in ast.walk(parse_code(record["proposed_answer"])) if hasattr(node, "name")}
    except SyntaxError as error:
        return "code_syntax", f"solution: {error}"
    for test in record["tests"] or []:
        try:
            body = parse_code(test).body
        except SyntaxError as error:
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
