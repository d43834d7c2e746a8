"""Votes over several answers to one question.

All settled samples are the denominator: a reply that could not be read, was cut, or abstained counts against the
winner instead of vanishing. Self-consistency after Wang et al. 2023, https://arxiv.org/abs/2203.11171.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Equal = Callable[[str, str], bool]
Outcome = Literal[
    "answered", "several_right", "none_right", "unclear", "cut", "garbage", "schema", "off_list", "refused"
]

# How a question is rejected when most samples failed in one way; the rest is no_majority.
_DOMINANT = {
    "several_right": "several_right",
    "none_right": "unanswerable",
    "unclear": "unanswerable",
    "cut": "cut",
    "garbage": "garbage",
    "schema": "schema",
    "off_list": "off_list",
    "refused": "refused",
}


@dataclass(frozen=True)
class Vote:
    """One settled sample: its answer where it gave one, and how it ended."""

    sample: int
    outcome: Outcome
    answer: str | None = None


@dataclass(frozen=True)
class Ballot:
    """One distinct answer and the samples that gave it, in sample order."""

    answer: str
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Tally:
    """The result of a vote.

    Attributes:
        ballots: Distinct answers by falling count, then by first sample.
        k: Settled samples, the denominator.
        reason: Why there is no winner; null where there is one.
    """

    ballots: tuple[Ballot, ...]
    k: int
    reason: str | None

    @property
    def winner(self) -> Ballot | None:
        """The accepted answer, null where the vote was rejected."""
        return self.ballots[0] if self.reason is None else None

    @property
    def share(self) -> float:
        """Winner / k."""
        return len(self.ballots[0].samples) / self.k if self.ballots else 0.0

    @property
    def margin(self) -> float:
        """(Winner - runner-up) / k."""
        if not self.ballots:
            return 0.0
        runner_up = len(self.ballots[1].samples) if len(self.ballots) > 1 else 0
        return (len(self.ballots[0].samples) - runner_up) / self.k


def tally(votes: Sequence[Vote], equal: Equal, min_share: float) -> Tally:
    """Count ``votes``; accept iff winner / k > ``min_share`` and no tie.

    A vote joins the first representative, in sample order, that ``equal`` finds equal to it.
    """
    groups: list[tuple[str, list[int]]] = []
    for vote in votes:
        if vote.answer is None:
            continue
        for representative, samples in groups:
            if equal(representative, vote.answer):
                samples.append(vote.sample)
                break
        else:
            groups.append((vote.answer, [vote.sample]))
    ballots = tuple(
        Ballot(answer, tuple(samples)) for answer, samples in sorted(groups, key=lambda group: -len(group[1]))
    )
    return Tally(ballots, len(votes), _reason(votes, ballots, min_share))


def _reason(votes: Sequence[Vote], ballots: Sequence[Ballot], min_share: float) -> str | None:
    if ballots:
        first = len(ballots[0].samples)
        tie = len(ballots) > 1 and len(ballots[1].samples) == first
        if first / len(votes) > min_share and not tie:
            return None
    reason, count = Counter(_DOMINANT.get(vote.outcome, "no_majority") for vote in votes).most_common(1)[0]
    return reason if count * 2 > len(votes) else "no_majority"
