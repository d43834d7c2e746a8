"""From a reply's text to a checked JSON object, or to the reason why there is none."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import json_repair
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from curator_sdg.teacher.base import Completion

BadReply = Literal["cut", "garbage", "schema"]

_THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
# A fence ends at the start or at the end of a line: one inside a JSON text ("```python\n...```") does neither.
_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:^[ \t]*```|```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_DEEPEST = 32  # levels; what is asked for has three
_MOST_OBJECTS = 64  # that are looked at in one reply's prose
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# A teacher that writes LaTeX into JSON forgets to double its backslashes: "\frac", "\times" and "\neq" then read as a
# form feed, a tab or a line break and the rest of the word. What to double, within one JSON text:
# - An escape that JSON does not know ("\alpha", "\(") is always meant literally.
# - "\b" and "\f" need no look ahead: no text of ours has such characters, so they are put back when it is read.
# - A command whose rest is no word ("\times" would be a tab and "imes") is always LaTeX.
# - Of some commands the rest may well begin a line of code ("\neq = 1" as "eq = 1", "\text = p" as "ext = p"). They
#   are LaTeX only before "{", "_{" or "^"; in the middle of a line ("x \to y"); between dollar signs; or if the text
#   has another command that lost its backslash and none that is properly doubled, for who doubles them means a line
#   break by "\n".
#   ("\ni" is left out: "i = 0" on a new line is far more common.)
_EATEN = {"\f": "\\f", "\b": "\\b"}
_ESCAPED = '"\\/bfnrtu\n'  # a backslash at a line's end is left to the repair
_SURE = frozenset(
    re.findall(
        r"\w+",
        """times theta tilde triangle triangleq triangleleft triangleright textbf textit textrm textsf
        texttt textstyle therefore thickapprox thicksim tanh twoheadrightarrow nabla notin nonumber
        nrightarrow nleftarrow nRightarrow nLeftrightarrow nsubseteq nsupseteq nparallel ncong rho right
        rangle rightarrow rightarrows rightleftharpoons rightharpoonup rm rfloor rceil rbrace rbrack
        rvert rVert rtimes""",
    )
)
_UNSURE = frozenset(
    re.findall(
        r"\w+",
        """text tan tau to top tfrac tbinom tag not ne neq neg nu nmid nleq ngeq nless ngtr nexists""",
    )
)
_LATEX = frozenset(
    re.findall(
        r"\w+",
        """frac dfrac sqrt alpha beta gamma delta epsilon varepsilon lambda mu sigma phi varphi omega pi psi
        eta zeta kappa Delta Sigma Omega Gamma Phi cdot cdots ldots dots pm mp leq geq le ge approx equiv
        sim sum prod int infty partial left cup cap subset subseteq in forall exists Rightarrow
        Leftrightarrow implies iff mathbb mathrm mathbf mathcal operatorname sin cos log ln lim vec hat
        bar overline underline begin end boldsymbol binom quad circ angle degree perp parallel mid""",
    )
)
_JSON_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(r"\\(\\|u[0-9a-fA-F]{4}|[a-zA-Z]+|.)", re.DOTALL)
_DOUBLED = re.compile(r"(?<!\\)\\\\([a-zA-Z]{2,})")
_FOLLOWS = re.compile(r"\{|_\{|\^")
# "x \to y", but not "return x \ne = 1" with a blank left over; "x\neq 0", for no line begins "eq 0".
_MID_LINE = re.compile(r"(?<=[\w)}\]] )\\(?!nless|nexists|nmid)[a-z]++(?![ ]*=|\\[nrt])|\\neq[ ][\w\\-]")
# Dollar signs around mathematics, not money: pandoc's rule.
_IN_DOLLARS = re.compile(r"\$(?=\S)[^$]*(?<=\S)\$(?!\d)")


class Parsed(NamedTuple):
    """A reply's content, or why it has none.

    Attributes:
        value: The object, null where the reply is bad.
        reason: ``cut`` (ended for want of room), ``garbage`` (no JSON object in it), ``schema`` (not the object
            that was asked for); null where it is good.
        detail: What exactly is wrong.
    """

    value: dict[str, Any] | None
    reason: BadReply | None = None
    detail: str = ""


def parse_reply(completion: Completion, schema: dict[str, Any]) -> Parsed:
    """Read the JSON object in a completion and hold it against ``schema``.

    A cut reply is not repaired: what is missing is content, not a bracket.
    """
    if completion.cut:
        return Parsed(None, "cut", f"the reply ended after {len(completion.text)} characters for want of room")
    value = read_object(completion.text, schema)
    if value is None:
        return Parsed(None, "garbage", "the reply holds no JSON object")
    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path)
        return Parsed(None, "schema", f"{where}: {error.message}" if where else error.message)
    return Parsed(value)


def read_object(text: str, schema: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, tolerating code fences, prose around it and small slips.

    Of several the last that ``schema`` allows is the one: teachers draft before they answer. If none is allowed, or
    there is no schema, one that is JSON as it stands comes before one that had to be repaired.
    """
    body = _THINKING.sub("", text).strip()
    found: list[dict[str, Any]] = []
    repaired: list[dict[str, Any]] = []
    for part, as_it_stands in _parts(body):
        value = _load(part) if as_it_stands else _repair(part)
        if value is None:
            continue
        if schema is not None and Draft202012Validator(schema).is_valid(value):
            return value
        (found if as_it_stands else repaired).append(value)
    return next(iter(found + repaired), None)


def _parts(body: str) -> Iterator[tuple[str, bool]]:
    """Yield where the object may stand, the likeliest first, and whether it is to be read without repair."""
    yield body, True
    for fenced in reversed(_FENCED.findall(body)):
        yield fenced, True
        yield fenced, False
    for part in reversed(_objects(body)):
        yield part, True
    yield body, False


def _objects(body: str) -> list[str]:
    """Return the texts of the outermost objects in ``body``, in order."""
    mended = _mend_escapes(body)
    decoder = json.JSONDecoder(strict=False)
    found: list[str] = []
    start = mended.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            break
        end = start + 1
        with contextlib.suppress(ValueError, RecursionError):
            _, end = decoder.raw_decode(mended, start)
            found.append(mended[start:end])
        start = mended.find("{", end)
    return found


def _load(text: str) -> dict[str, Any] | None:
    try:
        return _object(json.loads(_mend_escapes(text), strict=False))
    except (ValueError, RecursionError):  # no JSON, endless nesting, a number of thousands of digits
        return None


def _repair(text: str) -> dict[str, Any] | None:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        return _object(json_repair.loads(_mend_escapes(text[start : end + 1]), skip_json_loads=False))
    except Exception:  # noqa: BLE001 - the library fails on nonsense in many ways, by assertions too
        return None


def _object(value: Any) -> dict[str, Any] | None:
    """Return a read value if it is an object with something in it.

    Raises:
        ValueError: It is nested beyond reason.
    """
    return _clean(value) if isinstance(value, dict) and value else None


def _mend_escapes(text: str) -> str:
    """Double the backslashes in JSON's texts that begin LaTeX, or nothing that JSON knows; the rules are above."""
    return _JSON_TEXT.sub(lambda found: _mend_text(found[0]), text) if "\\" in text else text


def _mend_text(text: str) -> str:
    if "\\" not in text:
        return text
    words = [match[1] for match in _ESCAPE.finditer(text)]
    lost = any(word in _SURE or word in _LATEX for word in words)
    careless = lost and not any(word in _LATEX | _SURE | _UNSURE for word in _DOUBLED.findall(text))
    formulas = [match.span() for match in _IN_DOLLARS.finditer(text)]

    def mend(match: re.Match[str]) -> str:
        word = match[1]
        if word[0] not in _ESCAPED or (word[0] == "u" and len(word) < 5):
            doubled = word != "'"  # JavaScript's escape
            return "\\" + match[0] if doubled else word
        doubled = word in _SURE or (
            word in _UNSURE
            and (
                careless
                or _MID_LINE.match(text, match.start()) is not None
                or _FOLLOWS.match(text, match.end()) is not None
                or any(start < match.start() < end for start, end in formulas)
            )
        )
        return "\\" + match[0] if doubled else match[0]

    return _ESCAPE.sub(mend, text)


def _clean(value: Any, depth: int = 0) -> Any:
    """Strip texts, put back what JSON's escapes ate, and replace what no file can carry."""
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        for eaten, meant in _EATEN.items():
            value = value.replace(eaten, meant)
        return _CONTROL.sub("", _whole(value)).replace("\r\n", "\n").strip("\n ")
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _clean(item, depth + 1) for key, item in value.items()}
    return value


def _whole(text: str) -> str:
    """Replace lone surrogates, which JSON's escapes can spell but no file and no Arrow table can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
