"""The explanations that are kept with an accepted answer: the best of each style."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from curator_sdg.identity import seeded_permutation
from curator_sdg.records import Record, Style
from curator_sdg.verifiers import same_label

# Options are shown without letters and in no order, so a trace that cites one by letter, number or place speaks of an
# order that its reader will not see.
_CITES = re.compile(
    r"\b[Oo](?:ption)s?\s+\(?(?:[A-H]|\d)\)?(?![\w'’-])"
    r"|\b(?:[Cc]hoice|[Aa]nswer|[Aa]lternative)s?\s+\(?[A-H]\)?(?![\w'’-])"
    r"|(?:^|\n|[.;:]\s)\(?[A-H]\)\s"
    r"|\b(?:first|second|third|fourth|fifth|last|former|latter)\s+(?:option|choice|alternative|filler)\b",
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
    wrong = [option for option in record["options"] or [] if not same_label(option, answer)]
    found = []
    for option in wrong:
        why = next((item["why"] for item in given if same_label(item["option"], option)), None)
        if why:
            found.append({"option": option, "why": why})
    return found


def _text(trace: dict[str, Any]) -> str:
    return "\n".join([trace["knowledge"] or "", trace["reasoning"], *(item["why"] for item in trace["distractors"])])
