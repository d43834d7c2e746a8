"""From piloted seeds to all of them: totals by task and in all, each with an interval.

The unit is the seed: all that was asked and accepted after one seed belongs together, so the questions of a seed and
the votes on them need not be independent. Seeds are taken in the order of their hashes, so those of a pilot are a
random sample of each task's.

**Tasks with few seeds** are drawn towards the mean of all: the mean of a task with ``n`` piloted seeds counts with the
weight ``n / (n + k)``, where ``k`` is the variance within tasks over the variance between them, both estimated from
the pilot. That is the credibility estimator of Bühlmann and Straub ("Glaubwürdigkeit für Schadensätze", 1970), the
linear form of empirical Bayes (Efron and Morris, "Data analysis using Stein's estimator", JASA 70, 1975). Of a task
without piloted seeds the mean of all is all that is known.

**The interval** is the normal approximation, estimate -+ 1.645 standard errors for 90 %. The variance is that of the
estimated means, times the seeds still to come squared, and that of the sum over these seeds; what piloted seeds came
to is known and has none. A small pilot may show nothing of what goes wrong now and then, and then no spread either; so
the spread has one more seed in it, after which nothing came; of a few dozen seeds it is a rough one all the same.

It holds for the pilot's settings and the endpoint as it was: what differs between the pilot and the rest by more than
chance (a teacher that changes, a cache that fills, questions that repeat more of the others the more there are) is in
no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curator_sdg.planning.moments import Moments, Vector
from curator_sdg.quota import Quota, Standing

_Z = 1.645  # 90 % of a normal distribution lie within so many standard deviations
# Of a normal distribution, the middles of five parts of equal weight: how a round may turn out.
_LUCK = (-1.28, -0.52, 0.0, 0.52, 1.28)
_PRIOR_SEEDS = 5  # a task's own spread counts as its seeds over so many more; the others' stands in for these


class Interval(NamedTuple):
    """An estimate and where the truth lies nine times out of ten."""

    estimate: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """Return it in other units."""
        return Interval(*(value * factor for value in self))


@dataclass(frozen=True)
class Scope:
    """The seeds of one task.

    Attributes:
        seeds: How many it has, those of the pilot included.
        piloted: How many of these the pilot asked about; none where the pilot was of other seeds.
        wanted: Accepted questions after which it ends (``run.accepted_per_task``); null: after all of its seeds.
        per_seed: Questions that are asked for after each seed.
    """

    seeds: float
    piloted: int = 0
    wanted: int | None = None
    per_seed: int = 1


@dataclass(frozen=True)
class Totals:
    """Estimated totals of several figures, and what is not certain of them; figures as in :class:`Moments`.

    Attributes:
        values: The estimates.
        floor: What is known to be reached already.
        ceiling: What cannot be exceeded: no more questions are accepted than asked for.
        variance: From chance that is this task's own.
        common: Weight of the mean of all tasks in the estimate, whose error all tasks share.
    """

    values: Vector
    floor: Vector
    ceiling: Vector
    variance: Vector
    common: Vector

    def plus(self, other: Totals) -> Totals:
        """Return the totals of both."""
        return Totals(
            self.values + other.values,
            self.floor + other.floor,
            self.ceiling + other.ceiling,
            self.variance + other.variance,
            self.common + other.common,
        )


class Estimator:
    """Knows a pilot, and estimates what any seeds come to.

    Args:
        pilot: By task.
        figures: The names of the figures, as in the moments; one of them must be ``accepted``.
    """

    def __init__(self, pilot: Mapping[str, Moments], figures: Sequence[str]) -> None:
        self.figures = tuple(figures)
        self._accepted = self.figures.index("accepted")
        self._of = {task: moments for task, moments in pilot.items() if moments.n}
        size = len(self.figures)
        self._empty = Moments.of([], size)
        everything = reduce(Moments.plus, self._of.values(), self._empty)
        n, tasks = everything.n, len(self._of)
        self._mean = everything.mean
        inner = sum((moments.scatter for moments in self._of.values()), start=np.zeros((size, size)))
        # Without two seeds of any task the spread over all of them is the best there is.
        self._within = inner / (n - tasks) if n > tasks else everything.scatter / max(n - 1, 1)
        self._between = self._variance_between(everything, tasks)
        # The spread that one more seed would add after which nothing came.
        self._unseen = np.outer(self._mean, self._mean) / max(n, 1)
        self._mean_error = np.diag(self._within + self._unseen) / max(n, 1) + self._between * self._clumping(n)

    def _variance_between(self, everything: Moments, tasks: int) -> Vector:
        """Return the variance of the tasks' true means; Bühlmann and Straub's estimator, not below zero."""
        n = everything.n
        if tasks < 2:
            return np.zeros(len(self.figures))
        spread = sum(moments.n * (moments.mean - everything.mean) ** 2 for moments in self._of.values())
        sizes = n - sum(moments.n**2 for moments in self._of.values()) / n
        found: Vector = np.maximum(0.0, (spread - (tasks - 1) * np.diag(self._within)) / sizes)
        return found

    def _clumping(self, n: int) -> float:
        """Return the share of the variance between tasks that is left in the mean over all piloted seeds."""
        return sum((moments.n / n) ** 2 for moments in self._of.values()) if n else 1.0

    def means(self, task: str) -> Vector:
        """Return what a seed of a task comes to, figure by figure."""
        weight = self._weight(task)
        mean: Vector = weight * self._known(task).mean + (1 - weight) * self._mean
        return mean

    def totals(self, task: str, scope: Scope) -> Totals:
        """Return what the seeds of a task come to."""
        known, mean, weight, at = self._known(task), self.means(task), self._weight(task), self._accepted
        floor = known.sums if scope.piloted else np.zeros(len(self.figures))
        seeds, change = self._asked(task, scope)
        more = max(0.0, seeds - scope.piloted)
        # Were more accepted of each seed, fewer seeds would be asked about; that much the errors of a figure and of
        # the accepted questions cancel.
        slope = -change / seeds * mean if seeds else np.zeros(len(self.figures))
        spread = self._spread(known, slope)
        own = weight**2 * spread / max(known.n, 1) + (1 - weight) ** 2 * (self._between + slope**2 * self._between[at])
        ceiling = np.full(len(self.figures), np.inf)
        ceiling[at] = min(scope.seeds * scope.per_seed, math.inf if scope.wanted is None else scope.wanted)
        floor = np.minimum(floor, ceiling)  # a pilot may have accepted more than is wanted
        values, variance, common = floor + more * mean, more**2 * own + more * spread, more * (1 - weight)
        if scope.wanted is not None and values[at] >= scope.wanted:  # the others are surplus
            values[at], variance[at], common[at] = scope.wanted, 0.0, 0.0
        return Totals(values, floor, ceiling, variance, common)

    def seeds(self, task: str, scope: Scope) -> Interval:
        """Return how many seeds of a task are asked about."""
        seeds, _ = self._asked(task, scope)
        each, error = self.means(task)[self._accepted], self._error_of_yield(task)
        most, least = (self._rounds(scope, yields) for yields in (each - _Z * error, each + _Z * error))
        return Interval(seeds, min(seeds, least), max(seeds, most))

    def _asked(self, task: str, scope: Scope) -> tuple[float, float]:
        """Return how many seeds are asked about, and by how much more if one gave one more accepted question."""
        each, error = self.means(task)[self._accepted], self._error_of_yield(task)
        seeds = self._rounds(scope, each, error)
        if scope.wanted is None or not error:
            return seeds, 0.0
        step = min(error, each / 2)
        change = (self._rounds(scope, each + step) - self._rounds(scope, each - step)) / (2 * step) if step else 0.0
        return seeds, change

    def _rounds(self, scope: Scope, each: float, error: float = 0.0) -> float:
        """Return how many seeds are asked about, round after round, if one gives ``each`` -+ ``error`` questions."""
        if scope.wanted is None or each <= 0:
            return scope.seeds
        # Over yields as well as luck, for a poor yield costs more seeds than a good one saves.
        yields = [max(each / 2, each + luck * error) for luck in _LUCK]
        return sum(_rounds(scope, scope.wanted, one, luck) for one in yields for luck in _LUCK) / len(_LUCK) ** 2

    def _error_of_yield(self, task: str) -> float:
        """Return the standard error of the accepted questions of a seed."""
        known, at = self._known(task), self._accepted
        weight, spread = self._weight(task)[at], self._spread(known, np.zeros(len(self.figures)))[at]
        shared = self._between[at] + self._mean_error[at]
        return math.sqrt(weight**2 * spread / max(known.n, 1) + (1 - weight) ** 2 * shared)

    def interval(self, totals: Totals, figure: str) -> Interval:
        """Return one figure of some totals with its interval."""
        at = self.figures.index(figure)
        error = math.sqrt(totals.variance[at] + totals.common[at] ** 2 * self._mean_error[at])
        value = float(totals.values[at])
        low, high = float(totals.floor[at]), float(totals.ceiling[at])
        return Interval(value, max(low, value - _Z * error), max(value, min(high, value + _Z * error)))

    def _known(self, task: str) -> Moments:
        return self._of.get(task, self._empty)

    def _weight(self, task: str) -> Vector:
        """Return how much a task's own mean counts: ``n / (n + k)``, figure by figure."""
        n, within = self._known(task).n, np.diag(self._within)
        if len(self._of) == 1 and n:
            return np.ones(len(self.figures))
        signal = n * self._between
        return np.divide(signal, signal + within, out=np.zeros(len(self.figures)), where=signal > 0)

    def _spread(self, known: Moments, slope: Vector) -> Vector:
        """Return the variance between a task's seeds of each figure less ``slope`` times its accepted questions."""
        pooled = (known.scatter + _PRIOR_SEEDS * self._within) / (max(known.n - 1, 0) + _PRIOR_SEEDS) + self._unseen
        at = self._accepted
        spread: Vector = np.diag(pooled) - 2 * slope * pooled[:, at] + slope**2 * pooled[at, at]
        return np.maximum(0.0, spread, out=spread)


def _rounds(scope: Scope, wanted: int, each: float, luck: float) -> float:
    """Return how many seeds are asked about with so much luck: how many deviations more are accepted than expected."""
    quota, asked, accepted = Quota(Path(), wanted, scope.per_seed), 0, 0
    while accepted < wanted and asked < scope.seeds:
        asked += quota.enough(Standing(math.ceil(scope.seeds), asked, accepted))
        spread = math.sqrt(asked * each * max(0.0, 1 - each / scope.per_seed))
        accepted = max(0, int(asked * each + luck * spread))
    return min(max(asked, scope.piloted), scope.seeds)
