"""What a preview came to, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curator_sdg.config import Price
from curator_sdg.report.preview.records import SeedTrial, Turn
from curator_sdg.rundir import STEPS
from curator_sdg.teacher import Completion, Usage


@dataclass
class Summary:
    """The figures of a preview.

    Attributes:
        seeds: That were tried.
        questions: That were asked for.
        passed: Of these, those that passed every check.
        answered: Of these, those whose votes agree and which the filters keep.
        examples: That would be packaged.
        pending: Questions whose requests failed in transport.
        lost: Step -> reason -> rows that were rejected or are pending.
        used: What the endpoint counts for the replies of this preview, those that were known already left out.
        known: Replies that an earlier preview had paid for.
        cost: Of ``used``; null where a price or a count is not known.
    """

    seeds: int = 0
    questions: int = 0
    passed: int = 0
    answered: int = 0
    examples: int = 0
    pending: int = 0
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    used: Usage = field(default_factory=Usage)
    known: int = 0
    cost: float | None = None


def summarise(trials: Sequence[SeedTrial], prices: Mapping[str, Price | None]) -> Summary:
    """Count a preview; ``prices`` are by model."""
    found = Summary(seeds=len(trials))
    questions = [question for trial in trials for question in trial.questions]
    for question in questions:
        found.questions += 1
        found.passed += _passed(question.verdicts.get("dedup"))
        found.answered += _passed(question.verdicts.get("curate"))
        found.examples += sum(example.text is not None for example in question.examples)
        verdicts = [*question.verdicts.items(), *(("package", example.verdict) for example in question.examples)]
        for step, verdict in verdicts:
            if verdict.state != "accepted":
                found.lost.setdefault(step, Counter())[verdict.reason] += 1
                found.pending += verdict.state == "pending"
    found.lost = {step: found.lost[step] for step in STEPS if step in found.lost}
    turns = list(_turns(trials))
    found.known = sum(turn.known for turn in turns)
    by_model: dict[str, Usage] = {}
    for turn in turns:
        if not turn.known:
            by_model[turn.model] = by_model.get(turn.model, Usage()) + _usage(turn)
    found.used = sum(by_model.values(), Usage())
    costs = [usage.cost(prices.get(model)) for model, usage in by_model.items() if usage.replies]
    found.cost = None if None in costs else sum(cost for cost in costs if cost is not None)
    return found


def _passed(verdict: object) -> bool:
    return getattr(verdict, "state", None) == "accepted"


def _turns(trials: Iterable[SeedTrial]) -> Iterator[Turn]:
    for trial in trials:
        for question in trial.questions:
            yield from question.turns
            for vote in question.votes:
                yield from vote.turns


def _usage(turn: Turn) -> Usage:
    if turn.reply is None:
        return Usage()
    counts = (turn.prompt_tokens, turn.cached_tokens, turn.completion_tokens)
    return Usage.of(Completion("", "", "", None, None, *counts))
