"""Records of a run for the terminal: whole, in the order a person reads them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from curator_sdg.errors import SdgError
from curator_sdg.rundir import STEPS, RunDir, load_run, rejects
from curator_sdg.store import list_shards, read_rows

_LONG = ("context", "question", "options", "answer", "proposed_answer", "rationale", "text", "traces", "tests")
_HEAD = ("task", "variant", "framing", "answer_format", "language", "share", "margin", "agrees", "obligations")
_IDS = ("example_id", "question_id", "seed_id")


def select_records(run_dir: Path, step: str, *, task: str | None = None, n: int = 5) -> list[dict[str, Any]]:
    """Return the first ``n`` records of a step.

    Raises:
        SdgError: If there is no such run or step.
    """
    _known(run_dir, step)
    return list(itertools.islice((r for r in _records(run_dir, step) if task in (None, r.get("task"))), n))


def select_rejects(
    run_dir: Path, step: str | None, *, reason: str | None = None, task: str | None = None, n: int = 5
) -> list[dict[str, Any]]:
    """Return the first ``n`` rejects of a step, or of all steps.

    Raises:
        SdgError: If there is no such run or step.
    """
    _known(run_dir, step)
    found = (
        {"step": name, **row}
        for name, row in rejects(run_dir, step)
        if reason in (None, row["reason"]) and task in (None, row["task"])
    )
    return list(itertools.islice(found, n))


def records_text(found: Sequence[Mapping[str, Any]]) -> Group:
    """Return records for printing, their texts whole."""
    panels = []
    for record in found:
        title = next((str(record[name]) for name in _IDS if record.get(name)), "")
        head = "  ".join(f"{name}={record[name]}" for name in _HEAD if record.get(name) is not None)
        parts = [Text(head, style="dim")]
        for name in _LONG:
            if record.get(name):
                parts += [Text(f"\n{name}", style="bold"), Text(_text(record[name]))]
        panels.append(Panel(Group(*parts), title=title, title_align="left"))
    return Group(*panels) if panels else Group("nothing to show")


def rejects_text(found: Sequence[Mapping[str, Any]]) -> Group:
    """Return rejects for printing, with what they were judged on."""
    panels = []
    for row in found:
        head = Text(f"{row['reason']}: {row['detail']}", style="bold")
        title = Text(f"{row['step']} / {row['stage']}  {row['task']}  {row['record_id']}")
        panels.append(Panel(Group(head, Text(f"\n{row['raw']}")), title=title, title_align="left"))
    return Group(*panels) if panels else Group("no such rejects")


def _known(run_dir: Path, step: str | None) -> None:
    load_run(run_dir)
    if step is not None and step not in STEPS:
        raise SdgError(f"--step {step}: no such step; there are {', '.join(STEPS)}, and rejects")


def _records(run_dir: Path, step: str) -> Iterator[dict[str, Any]]:
    for shard in list_shards(RunDir(run_dir).step(step)).values():
        yield from read_rows(shard.path).to_pylist()


def _text(value: Any) -> str:
    """Return a value as lines: lists as bullets, records as their own lines."""
    if isinstance(value, list):
        return "\n".join(f"- {_text(item)}" for item in value)
    if isinstance(value, dict):
        return "\n  ".join(f"{key}: {_text(item)}" for key, item in value.items() if item not in (None, []))
    return str(value)
