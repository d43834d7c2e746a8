"""How many seeds a configuration comes to, before and after they were read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curator_sdg.collecting import selection_of
from curator_sdg.config import Config
from curator_sdg.planning.pilot import Pilot
from curator_sdg.planning.scope import SeedCounts, count_seeds

TASKS = ["arc_easy", "gsm8k", "sciq"]
ROWS = {"arc_easy": 2_251, "gsm8k": 7_473, "sciq": 11_679}


def config(limit: int | None = None, tasks: list[str] | None = None, **seeds: Any) -> Config:
    return Config.model_validate(
        {
            "run": {"dir": "nowhere", "limit": limit},
            "seeds": {"tasks": tasks or TASKS, **seeds},
            "teacher": {"model": "m", "base_urls": ["http://localhost:1/v1"]},
        }
    )


def counts(planned: Config, pilot: Pilot | None = None, read: Config | None = None) -> SeedCounts:
    return count_seeds(planned, selection_of(planned), pilot or Pilot(), read)


def test_before_anything_was_read_the_catalogue_tells() -> None:
    assert counts(config()) == SeedCounts({task: float(n) for task, n in ROWS.items()}, (), certain=False)
    assert counts(config(limit_per_task=5_000)).of == {"arc_easy": 2_251, "gsm8k": 5_000, "sciq": 5_000}
    assert counts(config(caps={"knowledge": 100})).of == {"arc_easy": 100, "gsm8k": 7_473, "sciq": 100}


def test_a_task_of_unknown_size_is_named() -> None:
    found = counts(config(tasks=["arc_easy", "babi"]))
    assert found.unknown == ("babi",)
    assert found.of == {"arc_easy": 2_251}


def test_a_limit_on_all_seeds_is_shared_by_size() -> None:
    found = counts(config(limit=1_000)).of
    assert sum(found.values()) == pytest.approx(1_000)
    assert found["gsm8k"] / found["arc_easy"] == pytest.approx(7_473 / 2_251)
    assert counts(config(limit=10**9)).of == ROWS, "a limit beyond all seeds is none"


def test_a_task_that_the_run_could_not_load_is_left_out_and_named() -> None:
    read = config(limit=10)
    found = counts(config(), Pilot(failed={"sciq"}, collected={"arc_easy": (2_251, 2_000)}), read)
    assert found.failed == ("sciq",)
    assert found.of == {"arc_easy": 2_000, "gsm8k": pytest.approx(7_473 * 2_000 / 2_251)}
    moved = counts(config(data_root="elsewhere"), Pilot(failed={"sciq"}), read)
    assert (moved.failed, moved.of["sciq"]) == ((), ROWS["sciq"]), "it may be there"


@pytest.fixture
def pilot() -> Pilot:
    """Return what a run of the first 100 seeds has read: every tenth row of gsm8k makes no seed."""
    return Pilot(
        collected={"arc_easy": (2_251, 2_251), "gsm8k": (7_473, 6_726), "sciq": (11_679, 11_679)},
        cut={"arc_easy": (10, 0), "gsm8k": (30, 0), "sciq": (60, 20)},
    )


def test_what_was_collected_counts_and_what_repeats_others_goes(pilot: Pilot) -> None:
    found = counts(config(), pilot, config(limit=100))
    assert found.certain
    assert found.of["arc_easy"] == 2_251
    assert found.of["gsm8k"] == 6_726
    assert found.of["sciq"] == pytest.approx(11_679 * 61 / 81)


def test_of_a_run_that_is_cut_to_its_end_the_seeds_are_counted(pilot: Pilot) -> None:
    pilot.whole = True
    assert counts(config(), pilot, config()).of == {"arc_easy": 10, "gsm8k": 30, "sciq": 60}
    assert counts(config(limit=100), pilot, config(limit=100)).of == {"arc_easy": 10, "gsm8k": 30, "sciq": 60}


def test_other_limits_a_task_keep_the_share_of_rows_that_are_seeds(pilot: Pilot) -> None:
    found = counts(config(limit_per_task=1_000), pilot, config())
    assert not found.certain
    assert found.of["arc_easy"] == 1_000
    assert found.of["gsm8k"] == pytest.approx(1_000 * 6_726 / 7_473)
    other = counts(config(tasks=[*TASKS, "openbookqa"]), pilot, config())
    usable = (2_251 + 6_726 + 11_679) / (2_251 + 7_473 + 11_679)
    assert other.of["openbookqa"] == pytest.approx(4_957 * usable)


def test_a_mirror_has_the_rows_that_were_read_of_it(pilot: Pilot) -> None:
    pilot.collected["arc_easy"] = (6, 5)
    assert counts(config(limit_per_task=1_000), pilot, config()).of["arc_easy"] == 5
    assert counts(config(limit_per_task=4), pilot, config()).of["arc_easy"] == pytest.approx(4 * 5 / 6)


def test_withheld_tasks_have_no_seeds_unless_they_are_released(pilot: Pilot) -> None:
    pilot.withheld = {"gsm8k"}
    assert "gsm8k" not in counts(config(), pilot, config()).of
    assert counts(config(release=["gsm8k"]), pilot, config()).of["gsm8k"] == 6_726


def test_a_folder_that_is_not_there_is_no_pilot(tmp_path: Path) -> None:
    from curator_sdg.planning.trial import begun, seeds_to_pilot

    planned = config().model_copy(update={"run": config().run.model_copy(update={"dir": tmp_path / "none"})})
    assert begun(planned) is None
    assert seeds_to_pilot(planned, 200) == 200
    limited = planned.model_copy(update={"run": planned.run.model_copy(update={"limit": 50})})
    assert seeds_to_pilot(limited, 200) == 50
