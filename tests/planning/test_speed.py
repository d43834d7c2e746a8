"""How fast a teacher wrote, from the times of its replies."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curator_sdg.planning import speed as module
from curator_sdg.planning.speed import Written, measured, speed_of
from curator_sdg.teacher import Completion, ShardJournal
from tests.teacher.requests import make_requests


def steady(n: int, every_s: float = 1.0, tokens: int = 50, begin: float = 0.0) -> list[Written]:
    return [Written(begin + i * every_s, tokens) for i in range(n)]


def test_the_ends_do_not_count() -> None:
    slow_start = [Written(-5000 + i * 500, 1) for i in range(10)]
    found = speed_of([*slow_start, *steady(100), *[Written(200 + i * 500, 1) for i in range(10)]])
    assert found is not None
    assert found.tokens_per_s == pytest.approx(50, rel=0.05)


def test_idle_gaps_do_not_count() -> None:
    found = speed_of([*steady(100), *steady(100, begin=100_000)])
    assert found is not None
    assert found.tokens_per_s == pytest.approx(50, rel=0.02)


def test_a_slow_teacher_is_not_idle() -> None:
    found = speed_of(steady(50, every_s=120))
    assert found is not None
    assert found.tokens_per_s == pytest.approx(50 / 120)


@pytest.mark.parametrize("written", [[], steady(1), steady(20, every_s=0), steady(20, tokens=0)])
def test_where_nothing_can_be_told_nothing_is(written: list[Written]) -> None:
    assert speed_of(written) is None


def journal(root: Path, epoch: int, shard: str, times: list[float]) -> Path:
    """Write a sealed segment of replies of 50 tokens that came at these times."""
    with ShardJournal(root, "generate", shard, epoch) as j:
        for request in make_requests(len(times)):
            j.append(Completion(request.key, "a text", "stop", None, None, 10, 0, 50), request)
        lines = [json.loads(line) for line in j.path.read_text().splitlines()]
        for line, time in zip(lines, times, strict=True):
            line["time"] = f"2026-01-01T00:{int(time) // 60:02}:{time % 60:06.3f}+00:00"
        j.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        j.seal()
    return next((root / "generate" / shard).glob(f"{epoch:06}-*"))


def test_the_start_that_wrote_most_is_measured(tmp_path: Path) -> None:
    journal(tmp_path, 1, "000002-000000", [float(i) for i in range(10)])
    for at in range(2):
        journal(tmp_path, 2, f"000002-{at:06}", [600 + 0.5 * i + at * 0.25 for i in range(200)])
    found = measured(tmp_path)
    assert found is not None
    assert found.tokens_per_s == pytest.approx(200, rel=0.01)
    assert found.replies == 320
    assert measured(tmp_path / "nothing") is None


def test_of_very_many_segments_the_figures_of_each_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ", 10)
    for at in range(40):
        path = journal(tmp_path, 1, f"000040-{at:06}", [at * 10.0 + i for i in range(10)])
        os.utime(path, (1e9, 1e9 + 10 * at))  # when it was sealed
    found = measured(tmp_path)
    assert found is not None
    assert found.tokens_per_s == pytest.approx(50, rel=0.05)
