"""Estimates against populations that are known."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from curator_sdg.planning.estimate import Estimator, Interval, Scope, Totals
from curator_sdg.planning.moments import Moments, Vector
from curator_sdg.quota import Quota, Standing

FIGURES = ("requests", "completion", "accepted")


def moments(rows: object) -> Moments:
    return Moments.of(np.asarray(rows, dtype=float), len(FIGURES))


def whole(estimator: Estimator, scopes: dict[str, Scope]) -> Totals:
    return reduce(Totals.plus, (estimator.totals(task, scope) for task, scope in scopes.items()))


def population(rng: np.random.Generator, tasks: int = 30) -> dict[str, Vector]:
    """Return the seeds of tasks of very different sizes, yields and lengths of reply: a row each."""
    found = {}
    for number in range(tasks):
        n = 6_000 // (number + 1) + 20
        accepted = rng.random(n) < rng.beta(8, 2)
        completion = rng.lognormal(rng.normal(6, 0.6), 0.7, n) * (1 + 5 * accepted)
        requests = 1 + 5 * (rng.random(n) < 0.9)
        found[f"task-{number}"] = np.stack([requests, completion, accepted], axis=1).astype(float)
    return found


def pilot_of(
    seeds: dict[str, Vector], n: int, rng: np.random.Generator
) -> tuple[dict[str, Moments], dict[str, Vector]]:
    """Return the moments of ``n`` seeds drawn over all tasks, and all seeds in an order in which these come first."""
    places = np.concatenate([[(t, i) for i in range(len(rows))] for t, rows in enumerate(seeds.values())])
    drawn = rng.permutation(places)[:n]
    piloted, ordered = {}, {}
    for t, (task, rows) in enumerate(seeds.items()):
        own = drawn[drawn[:, 0] == t][:, 1]
        piloted[task] = moments(rows[own])
        ordered[task] = np.concatenate([rows[own], rng.permutation(np.delete(rows, own, axis=0))])
    return piloted, ordered


def asked_in_rounds(rows: Vector, wanted: int) -> int:
    """Return how many seeds a run would ask about for so many accepted questions."""
    quota, asked = Quota(Path(), wanted, 1), 0
    while (accepted := int(rows[:asked, 2].sum())) < wanted and asked < len(rows):
        asked = min(len(rows), asked + quota.enough(Standing(len(rows), asked, accepted)))
    return asked


@pytest.mark.parametrize("seeds", [60, 200, 1000])
def test_nine_intervals_of_ten_hold_the_total(seeds: int) -> None:
    rng = np.random.default_rng(1)
    held, widths = np.zeros(len(FIGURES)), []
    for _ in range(200):
        every = population(rng)
        pilot, _ = pilot_of(every, seeds, rng)
        estimator = Estimator(pilot, FIGURES)
        total = whole(estimator, {task: Scope(len(rows), pilot[task].n) for task, rows in every.items()})
        truth = sum(rows.sum(axis=0) for rows in every.values())
        found = [estimator.interval(total, name) for name in FIGURES]
        held += [one.low <= true <= one.high for one, true in zip(found, truth, strict=True)]
        widths.append((found[1].high - found[1].low) / 2 / found[1].estimate)
    assert all(held >= 0.85 * 200), held
    assert all(held <= 0.97 * 200), f"{held}: an interval that always holds says little"
    assert np.mean(widths) < 2.2 / np.sqrt(seeds), "no wider than the spread of the seeds asks for"


def test_nine_intervals_of_ten_hold_a_task_of_many_seeds_and_most_of_those_with_few() -> None:
    rng = np.random.default_rng(2)
    held: dict[str, list[bool]] = {"many": [], "few": []}
    for _ in range(100):
        every = population(rng)
        pilot, _ = pilot_of(every, 300, rng)
        estimator = Estimator(pilot, FIGURES)
        for task, rows in every.items():
            totals = estimator.totals(task, Scope(len(rows), pilot[task].n))
            one = estimator.interval(totals, "completion")
            size = "many" if pilot[task].n >= 20 else "few"
            held[size].append(one.low <= rows[:, 1].sum() <= one.high)
    assert np.mean(held["many"]) >= 0.85
    assert np.mean(held["few"]) >= 0.8


def test_a_number_of_accepted_questions_ends_tasks_early() -> None:
    rng = np.random.default_rng(3)
    wanted, held, seeds_held, errors = 300, np.zeros(len(FIGURES)), [], []
    for _ in range(100):
        every = population(rng, tasks=12)
        pilot, ordered = pilot_of(every, 500, rng)
        estimator = Estimator(pilot, FIGURES)
        scopes = {task: Scope(len(rows), pilot[task].n, wanted) for task, rows in every.items()}
        asked = {task: max(pilot[task].n, asked_in_rounds(rows, wanted)) for task, rows in ordered.items()}
        truth = sum(rows[: asked[task]].sum(axis=0) for task, rows in ordered.items())
        truth[2] = sum(min(wanted, rows[: asked[task], 2].sum()) for task, rows in ordered.items())
        total = whole(estimator, scopes)
        found = [estimator.interval(total, name) for name in FIGURES]
        held += [one.low - 1 <= true <= one.high + 1 for one, true in zip(found, truth, strict=True)]
        errors.append([one.estimate / true - 1 for one, true in zip(found, truth, strict=True)])
        for task, scope in scopes.items():
            one = estimator.seeds(task, scope)
            seeds_held.append(one.low <= asked[task] <= one.high)
    assert np.abs(np.mean(errors, axis=0)).max() < 0.02, "neither too many nor too few on average"
    assert held[1] >= 85, held
    assert np.mean(seeds_held) >= 0.85
    assert found[0].estimate < 0.8 * sum(rows[:, 0].sum() for rows in every.values())


def test_what_a_pilot_accepted_beyond_the_number_is_surplus() -> None:
    estimator = Estimator({"a": moments([[6, 100, 1]] * 30)}, FIGURES)
    totals = estimator.totals("a", Scope(100, 30, wanted=20))
    assert estimator.interval(totals, "accepted") == Interval(20, 20, 20)
    assert estimator.interval(totals, "requests").low >= 180, "but it was asked for"


def test_where_the_accepted_questions_are_fixed_so_is_what_goes_with_them() -> None:
    rows = [[1, 100, 1], [1, 0, 0]] * 20  # only accepted questions have tokens
    estimator = Estimator({"a": moments(rows)}, FIGURES)
    totals = estimator.totals("a", Scope(10_000, 0, wanted=500))
    requests, completion, accepted = (estimator.interval(totals, name) for name in FIGURES)
    assert accepted == Interval(500, 500, 500)
    assert requests.high - requests.low > 0.2 * requests.estimate, "the yield is known from 40 seeds alone"
    assert completion.high - completion.low < 0.05 * completion.estimate


def test_a_yield_that_is_hardly_known_is_reckoned_with() -> None:
    few, many = (Estimator({"a": moments([[1, 10, 1], [1, 10, 0]] * n)}, FIGURES) for n in (5, 500))
    scope = Scope(10_000, 0, wanted=500)
    assert few.seeds("a", scope).estimate > 1.03 * many.seeds("a", scope).estimate, (
        "a poor yield costs more than a good saves"
    )
    assert few.seeds("a", scope).high > 1.2 * many.seeds("a", scope).high


def test_what_is_known_is_certain() -> None:
    rows = [[6, 100, 1], [1, 20, 0], [6, 300, 1]]
    estimator = Estimator({"a": moments(rows)}, FIGURES)
    totals = estimator.totals("a", Scope(3, 3))
    assert estimator.interval(totals, "completion") == Interval(420, 420, 420)
    assert estimator.seeds("a", Scope(3, 3)) == Interval(3, 3, 3)


@pytest.mark.parametrize("seeds", [1, 5, 30])
def test_a_pilot_in_which_nothing_went_wrong_is_not_certain(seeds: int) -> None:
    estimator = Estimator({"a": moments([[6, 100, 1]] * seeds)}, FIGURES)
    totals = estimator.totals("a", Scope(1000))
    for name in FIGURES:
        one = estimator.interval(totals, name)
        assert one.low == pytest.approx(one.estimate * (1 - 1.645 / seeds), rel=0.01) or one.low == 0, name
    assert estimator.interval(totals, "accepted").high == 1000, "no more questions than are asked for"
    assert estimator.interval(estimator.totals("a", Scope(1000, per_seed=2)), "accepted").high > 1000


def test_a_pilot_of_twenty_seeds_holds_rare_rejects_nine_times_of_ten() -> None:
    rng = np.random.default_rng(5)
    held = np.zeros(len(FIGURES))
    for _ in range(300):
        good = rng.random(2_000) < 0.95
        rows = np.stack([np.where(good, 6, 1), np.where(good, rng.normal(600, 100, 2_000), 80), good], axis=1)
        estimator = Estimator({"a": moments(rows[:20])}, FIGURES)
        totals = estimator.totals("a", Scope(2_000, 20))
        found = [estimator.interval(totals, name) for name in FIGURES]
        held += [one.low <= true <= one.high for one, true in zip(found, rows.sum(axis=0), strict=True)]
    assert all(held >= 0.87 * 300), held


def test_no_estimate_falls_below_what_is_there_already() -> None:
    estimator = Estimator({"a": moments([[1, 0, 0]] * 9 + [[6, 9000, 1]])}, FIGURES)
    one = estimator.interval(estimator.totals("a", Scope(20, 10)), "completion")
    assert one.low == 9000
    assert one.estimate == pytest.approx(18_000)
    other = estimator.interval(estimator.totals("a", Scope(20, 0)), "completion")
    assert other.low == 0, "seeds of another run are not there yet"


def test_a_task_with_few_seeds_is_drawn_towards_the_others() -> None:
    rng = np.random.default_rng(4)
    pilot = {
        f"t{i}": moments(np.column_stack([np.ones(50), rng.normal(100 + i, 20, 50), np.ones(50)])) for i in range(9)
    }
    pilot["rare"] = moments([[1, 300, 1]])
    pilot["common"] = moments(np.column_stack([np.ones(400), rng.normal(300, 20, 400), np.ones(400)]))
    estimator = Estimator(pilot, FIGURES)
    everybody = reduce(Moments.plus, pilot.values()).mean[1]
    assert estimator.means("unseen")[1] == pytest.approx(everybody)
    assert abs(estimator.means("common")[1] - pilot["common"].mean[1]) < 1
    assert everybody < estimator.means("rare")[1] < 300
    same = Estimator(
        {f"t{i}": moments(np.column_stack([np.ones(50), rng.normal(100, 20, 50), np.ones(50)])) for i in range(9)}
        | {"rare": moments([[1, 300, 1]])},
        FIGURES,
    )
    assert same.means("rare")[1] < 150, "where tasks are alike, one seed says little about its own"


def test_one_task_is_its_own_mean_and_no_seeds_are_no_error() -> None:
    alone = Estimator({"a": moments([[1, 10, 1], [1, 30, 0]])}, FIGURES)
    assert alone.means("a").tolist() == [1, 20, 0.5]
    nothing = Estimator({}, FIGURES)
    assert nothing.interval(nothing.totals("a", Scope(100)), "completion") == Interval(0, 0, 0)
    assert nothing.seeds("a", Scope(100, 0, 5)) == Interval(100, 100, 100)


def test_a_task_that_cannot_reach_its_number_asks_about_all_of_its_seeds() -> None:
    estimator = Estimator({"a": moments([[6, 100, 1], [1, 20, 0]] * 20)}, FIGURES)
    scope = Scope(100, 40, wanted=1000)
    assert estimator.seeds("a", scope).estimate == 100
    assert estimator.interval(estimator.totals("a", scope), "accepted").estimate == pytest.approx(50)


def test_parts_of_a_pilot_add_up() -> None:
    rows = np.arange(30, dtype=float).reshape(10, 3)
    both, one = moments(rows[:4]).plus(moments(rows[4:])), moments(rows)
    assert both.n == one.n
    assert np.allclose(both.scatter, one.scatter)
    assert np.allclose(one.scatter / 9, np.cov(rows.T))
    assert not moments([[7, 7, 7]] * 5).scatter.any()
