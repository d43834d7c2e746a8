"""MBPP: a task in words, a solution, asserts.

lm-eval's target is the asserts; the solution is the column ``code``. It comes with DOS line ends, blanks at line
ends and, in places, tabs; they are tidied only where the program stays the same program.
"""

from __future__ import annotations

import ast
import re
import warnings

from curator_sdg.seeds.adapters.base import Content, Document, Unusable, text_of, texts_of

_LEADING = re.compile(r"^[ \t]+", re.MULTILINE)
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)


def adapt(document: Document) -> Content:
    """Take the solution as the answer and the asserts as the tests, what sets them up first."""
    row = document.row
    setup = text_of(row.get("test_setup_code") or "", "test_setup_code").replace("\r\n", "\n")
    asserts = [test for test in texts_of(row["test_list"], "test_list") if test]
    code = text_of(row["code"], "code")
    if not code or not asserts:
        raise Unusable("gold_missing", "no code" if not code else "no tests")
    return Content(
        question=document.question(),
        answer=tidy(code),
        tests=[*([setup] if setup else []), *(test.replace("\r\n", "\n") for test in asserts)],
    )


def tidy(code: str) -> str:
    """Return ``code`` with plain line ends, no blanks at line ends and no tabs in its indentation.

    Raises:
        Unusable: ``unparsed_answer`` if it is not Python.
    """
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    before = _tree(code)
    if before is None:
        raise Unusable("unparsed_answer", "the code is not Python")
    spaced = any("\t" not in indent for indent in _LEADING.findall(code))
    width = 8 if spaced else 4  # a tab beside spaces means eight columns to Python
    neat = _LEADING.sub(lambda match: match[0].expandtabs(width), _TRAILING.sub("", code))
    return neat if _tree(neat) == before else code


def _tree(code: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old code are none of our business
        try:
            return ast.dump(ast.parse(code))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
