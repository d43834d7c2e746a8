"""What a journal's replies have used."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from curator_sdg.config import Price
from curator_sdg.errors import StoreError
from curator_sdg.teacher import Completion, Refusal, ShardJournal, Usage, journal_usage
from curator_sdg.teacher.journal import usage as module
from curator_sdg.teacher.journal.segment import Entry
from curator_sdg.teacher.journal.usage import add_up, cost_of, total
from tests.teacher.requests import MODEL, make_request, make_requests

ONE = Usage(replies=1, prompt_tokens=10, cached_tokens=4, completion_tokens=3)


def reply(key: str) -> Completion:
    return Completion(key, "a text", "stop", None, "the-server-calls-it-otherwise", 10, 4, 3)


def of(**steps: Usage) -> dict[str, dict[str, Usage]]:
    """Return usage by step, all of one model."""
    return {step: {MODEL: used} for step, used in steps.items()}


def times(n: int, usage: Usage = ONE) -> Usage:
    return sum([usage] * n, Usage())


def fill(root: Path, n: int, *, step: str = "generate", shard: str = "shard-0", epoch: int = 1) -> ShardJournal:
    j = ShardJournal(root, step, shard, epoch)
    for request in make_requests(n):
        j.append(reply(request.key), request)
    return j


def kept(name: str, **changes: object) -> str:
    """Return what ``usage.json`` holds of a segment, with changes."""
    return json.dumps({name: {MODEL: asdict(Usage()) | changes}})


def usage_file(root: Path) -> Path:
    return root / "generate" / "shard-0" / "usage.json"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the segments that are read in full from now on."""
    names: list[str] = []
    original = module.read_whole

    def noted(path: Path) -> list[Entry]:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(module, "read_whole", noted)
    return names


def test_replies_are_summed_by_step_over_shards_and_attempts(tmp_path: Path) -> None:
    fill(tmp_path, 3).seal()
    fill(tmp_path, 3, epoch=2).close()  # under the same keys: they were paid for again
    fill(tmp_path, 2, shard="shard-1").seal()
    fill(tmp_path, 4, step="enrich").close()
    assert journal_usage(tmp_path) == of(enrich=times(4), generate=times(8))
    assert journal_usage(tmp_path / "gone") == {}


def test_refusals_and_replies_without_counts_are_told_apart(tmp_path: Path) -> None:
    first, second, third = make_requests(3)
    with ShardJournal(tmp_path, "generate", "shard-0", 1) as j:
        j.append(Refusal(first.key, 400, "too long"), first)
        j.append(Completion(second.key, "a text", "stop"), second)
        j.append(Completion(third.key, "a text", "stop", prompt_tokens=7), third)
    assert journal_usage(tmp_path) == of(generate=Usage(2, 1, prompt_tokens=7, uncounted=2))


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(prompt=2, completion=10), 2 * 1.0 + 10 * 0.5),
        (Price(prompt=2, completion=10, cached=0.5), 2 * 0.75 + 0.5 * 0.25 + 10 * 0.5),
        (Price(prompt=0, completion=0), 0.0),
        (None, None),
    ],
)
def test_a_cost_is_of_a_million_tokens_and_cached_ones_are_part_of_the_prompt(
    price: Price | None, cost: float | None
) -> None:
    used = Usage(9, 1, prompt_tokens=1_000_000, cached_tokens=250_000, completion_tokens=500_000)
    assert used.cost(price) == cost
    assert used.tokens == 1_500_000
    assert (used + Usage(replies=1, uncounted=1)).cost(price) is None


def test_models_are_told_apart_by_what_was_asked_for(tmp_path: Path) -> None:
    requests = [make_request(n, model=model) for n, model in enumerate(["large", "small", "large"])]
    with ShardJournal(tmp_path, "generate", "shard-0", 1) as j:
        for request in requests:
            j.append(reply(request.key), request)
        j.append(Refusal(requests[1].key, 400, "too long"), requests[1])
    assert journal_usage(tmp_path) == {"generate": {"large": times(2), "small": ONE + Usage(refusals=1)}}


def test_old_lines_count_for_the_model_that_answered(tmp_path: Path) -> None:
    with ShardJournal(tmp_path, "generate", "shard-0", 1) as j:
        for request in make_requests(2):
            j.append(reply(request.key), request)
    lines = [json.loads(line) for line in j.path.read_text().splitlines()]
    for line in lines:
        assert line.pop("asked") == MODEL
    del lines[1]["model"]
    j.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert journal_usage(tmp_path) == {"generate": {"the-server-calls-it-otherwise": ONE, "": ONE}}


def test_a_cost_over_models_is_known_where_each_of_them_is() -> None:
    million = Usage(1, 0, 1_000_000, 0, 0)
    used = add_up([{"large": million, "small": million}, {"small": million}])
    assert total(used) == Usage(3, 0, 3_000_000)
    prices = {"large": Price(prompt=3, completion=0), "small": Price(prompt=0.5, completion=0)}
    assert cost_of(used, prices) == 4.0
    assert cost_of({**used, "none": Usage(refusals=1)}, prices) == 4.0, "refusals are free"
    assert cost_of({**used, "other": Usage(1)}, prices) is None
    assert cost_of({**used, "small": Usage(1, uncounted=1)}, prices) is None
    assert cost_of(used, {**prices, "small": None}) is None
    assert cost_of({}, {}) == 0.0


def test_sealed_segments_are_not_read_again(tmp_path: Path, read: list[str]) -> None:
    fill(tmp_path, 3).seal()
    fill(tmp_path, 3, epoch=2).seal()
    fill(tmp_path, 1, shard="shard-1").seal()
    plain = fill(tmp_path, 1, epoch=3)
    plain.close()
    read.clear()
    assert journal_usage(tmp_path) == of(generate=times(8))
    assert read == [plain.path.name]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"NAME": 1}',
        '{"NAME": {"replies": 9}}',
        json.dumps({"NAME": asdict(Usage(replies=9))}),  # as it was before models were told apart
        kept("NAME", replies="9"),
        kept("NAME", replies=True),
        kept("NAME", prompt_tokens=-9),
        kept("NAME", unknown=1),
        kept("another", replies=9),
    ],
)
def test_figures_that_are_missing_damaged_or_outdated_are_counted_anew_once(
    tmp_path: Path, read: list[str], content: str | None
) -> None:
    fill(tmp_path, 3).seal()
    [name] = json.loads(usage_file(tmp_path).read_text())
    usage_file(tmp_path).unlink()
    if content is not None:
        usage_file(tmp_path).write_text(content.replace("NAME", name))
    read.clear()
    for _ in range(2):
        assert journal_usage(tmp_path) == of(generate=times(3))
    assert read == [name]


def test_figures_that_cannot_be_kept_are_no_error(tmp_path: Path) -> None:
    fill(tmp_path, 3).seal()
    usage_file(tmp_path).unlink()
    usage_file(tmp_path).mkdir()
    assert journal_usage(tmp_path) == of(generate=times(3))
    fill(tmp_path, 3, epoch=2).seal()
    assert journal_usage(tmp_path) == of(generate=times(6))


def test_what_was_moved_away_counts_no_more(tmp_path: Path) -> None:
    fill(tmp_path, 3).seal()
    fill(tmp_path, 2, epoch=2).seal()
    next(usage_file(tmp_path).parent.glob("000001-*")).unlink()
    assert journal_usage(tmp_path) == of(generate=times(2))


def test_an_abandoned_segment_is_counted_when_it_is_sealed(tmp_path: Path, read: list[str]) -> None:
    fill(tmp_path, 3).close()
    ShardJournal(tmp_path, "generate", "shard-0", 2).seal()
    read.clear()
    assert journal_usage(tmp_path) == of(generate=times(3))
    assert read == []


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    j = fill(tmp_path, 1)
    j.close()
    j.path.write_text("nonsense\n")
    with pytest.raises(StoreError, match=rf"{j.path.name}, line 1"):
        journal_usage(tmp_path)


def test_a_forecast_adds_replies_of_average_size() -> None:
    assert times(3).forecast(2) == times(5)
    assert Usage(refusals=1).forecast(5) == Usage(refusals=1)
