"""The explanations that are kept with an accepted answer: the best of each style."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from curator_sdg.identity import seeded_permutation
from curator_sdg.records import Record, Style
from curator_sdg.verifiers import match_option

# Options are shown without letters and in no order, so a trace that cites one by letter, number or place speaks of an
# order that its reader will not see.
_LABEL = r"""["'“‘(*\[`]*[A-H]["'”’)*\]`]*"""  # B, (B), "B", **B**
_CITES = re.compile(
    rf"""
      # option B, options "A" and "B", option 2
      \b(?i:options?)\s+(?:{_LABEL}|\(?\d\)?)(?![\w-])
      # choice B, the answer (C): "answers A and B antigens" and "choice A-levels" are something else
    | \b(?i:choice|alternative)s?\s+{_LABEL}(?![\w'’-])
    | \b(?i:(?:the|correct|right|wrong|best|final)\s+answers?)\s+{_LABEL}(?![\w'’-])
    | (?:^|\n|[.;:]\s)Answer\s+{_LABEL}(?![\w'’-])
      # Answer: D; the answer is B, as ...; but not "the answer is B vitamins" or "is E. coli"
    | \b(?i:answer|choice|option)(?:\s*:|\s+(?:is|was|must\ be|would\ be|should\ be))[\s:]*{_LABEL}
      (?=\s*(?:$|\n|[,;:!?)]|\.(?!\s*[a-z])|(?:because|since|as|for|and|not|but|which|\u2013|\u2014|-)(?!\w)))
      # B is correct; so "C" must be wrong
    | (?:^|[.;:,!?(\n]\s*|\b(?i:so|thus|hence|therefore|that|and|or|only|while|but|because|since|leaves)\s+)
      {_LABEL}\s+(?:is|are|was|were|seems?|(?:must|would|can|could|cannot)(?:\s+not)?\s+be|isn['’]t|can['’]t\s+be)
      \s+(?:(?:also|not|clearly|therefore|thus|simply)\s+)*(?:the\s+(?:best|only|right|correct|wrong)\b|
         (?:correct|incorrect|right|wrong|ruled\s+out|eliminated|the\s+answer)\b)
      # **B** fits
    | \*\*\(?[A-H][).:]?\*\*(?!\w)
      # B) is wrong, at the start of a sentence
    | (?:^|\n|[.;]\s)\(?[A-H]\)\s
      # the first option is ...; but not "the last option for treatment"
    | (?<!\w\s)\b(?i:(?:first|second|third|fourth|fifth|last|former|latter)
      (?:\s+(?:two|three))?\s+(?:option|choice|alternative|filler)s?)\b(?!\s+(?:for|of|to|in|available|left))
    | \b(?i:the|this|that|and|or|our)\s+(?i:(?:first|second|third|fourth|fifth|last|former|latter)
      (?:\s+(?:two|three))?\s+(?:option|choice|alternative|filler)s?)\b(?!\s+(?:for|of|to|in|available|left))
    """,
    re.VERBOSE,
)


def shown_order(record: Record, seed: int, sample: int) -> list[int] | None:
    """Return the order in which a sample is shown the options: shown position -> index.

    A fixed set of labels keeps its order; a generative question has none.
    """
    if not record["options"]:
        return None
    n = len(record["options"])
    if record["answer_format"] != "option":
        return list(range(n))
    return seeded_permutation(n, seed, "vote", record["question_id"], sample)


def cites_labels(text: str) -> bool:
    """Whether a text refers to an option by letter, number or place."""
    return _CITES.search(text) is not None


def best_traces(
    record: Record, answer: str, agreeing: Sequence[tuple[int, Style, dict[str, Any]]], seed: int
) -> list[dict[str, Any]]:
    """Return one trace (schema ``TRACE``) a style, of the samples that agree with the vote.

    Of several the one that explains most distractors wins, then the earliest. A trace that cites labels is left out.
    """
    best: dict[Style, dict[str, Any]] = {}
    for sample, style, content in agreeing:
        trace = {
            "style": style,
            "sample": sample,
            "knowledge": content.get("knowledge"),
            "reasoning": content["reasoning"],
            "distractors": _distractors(record, answer, content.get("distractors") or []),
            "permutation": shown_order(record, seed, sample),
        }
        if record["answer_format"] == "option" and cites_labels(_text(trace)):
            continue
        if style not in best or len(trace["distractors"]) > len(best[style]["distractors"]):
            best[style] = trace
    return list(best.values())


def _distractors(record: Record, answer: str, given: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the explanations of wrong options, each with the option's own text, in the options' order."""
    options = record["options"] or []
    right = match_option(options, answer)
    whys: dict[int | None, str] = {}
    for item in given:
        whys.setdefault(match_option(options, item["option"]), item["why"])
    return [{"option": option, "why": whys[i]} for i, option in enumerate(options) if i != right and whys.get(i)]


def _text(trace: dict[str, Any]) -> str:
    return "\n".join([trace["knowledge"] or "", trace["reasoning"], *(item["why"] for item in trace["distractors"])])
