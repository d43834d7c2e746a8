"""Records of a run for the terminal: whole, in the order a person reads them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from curator_sdg.errors import SdgError
from curator_sdg.ledger import Counts, Ledger
from curator_sdg.rundir import STEPS, RunDir, load_run, rejects
from curator_sdg.store import PENDING, REJECTS, list_shards, read_rows

Kind = Literal["rows", "rejects", "pending rows"]

_LONG = ("context", "question", "options", "answer", "proposed_answer", "rationale", "text", "traces", "tests")
_HEAD = ("task", "variant", "framing", "answer_format", "language", "share", "margin", "agrees", "obligations")
_DEEPEST = 5  # levels of lists and records that are laid out: the time it takes grows by half with each
_IDS = ("example_id", "question_id", "seed_id")
# A reply must not steer the terminal, nor turn round the text about it; half of a surrogate pair cannot be written.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def select(
    run_dir: Path, kind: Kind, step: str | None, *, reason: str | None = None, task: str | None = None, n: int = 5
) -> list[dict[str, Any]]:
    """Return the first ``n`` rows, rejects or pending rows of a step; of all steps where ``step`` is null.

    Rejects and pending rows carry the ``step`` that they are of.

    Raises:
        SdgError: If there is no such run or step, the step has no rows yet, or it has nothing with this ``reason``
            or of this ``task``; the message says what there is.
    """
    load_run(run_dir)
    if step is not None and step not in STEPS:
        raise SdgError(f"--step {step}: no such step; there are {', '.join(STEPS)}, and rejects")
    if kind == "rows":
        rows = _records(run_dir, step or STEPS[-1])
    else:
        file = REJECTS if kind == "rejects" else PENDING
        rows = ({"step": name, **row} for name, row in rejects(run_dir, step, file))
    wanted = {name: value for name, value in (("task", task), ("reason", reason)) if value is not None}
    found, seen = _pick(rows, wanted, n)
    if found:
        return found
    if not any(seen.values()) and (wanted or kind == "rows"):
        raise SdgError(nothing(run_dir, kind, step))
    for name, value in wanted.items():
        if value not in seen[name]:
            there = ", ".join(f"{other} {count}" for other, count in sorted(seen[name].items()))
            raise SdgError(f"--{name} {value}: {step or 'the run'} has no such {kind}; there are {there}")
    return found


def nothing(run_dir: Path, kind: Kind, step: str | None) -> str:
    """Return why there is nothing to show, and which steps have something."""
    totals = {name: _total(run_dir, name, kind) for name in STEPS}
    there = ", ".join(f"{name} {total}" for name, total in totals.items() if total)
    if step and totals[step]:
        return f"{step} has no such {kind}"
    where = f"{step} has no {kind} yet" if step and kind == "rows" else f"{step or 'the run'} has no {kind}"
    return f"{where}; there are {kind} of: {there}" if there else where


def pending_reasons(run_dir: Path, ledger: Ledger) -> Counter[str]:
    """Return why the rows of a ledger are pending; those of shards not published yet are ``not_asked_yet``."""
    steps = [step.step for step in ledger.steps if step.counts.pending]
    reasons = Counter(row["reason"] for step in steps for _, row in rejects(run_dir, step, PENDING))
    if (rest := ledger.pending - reasons.total()) > 0:
        reasons["not_asked_yet"] = rest
    return reasons


def records_text(found: Sequence[Mapping[str, Any]]) -> Group:
    """Return records for printing, their texts whole."""
    panels = []
    for record in found:
        head = "  ".join(f"{name}={_short(record[name])}" for name in _HEAD if record.get(name) is not None)
        parts: list[RenderableType] = [
            Text(next((str(record[name]) for name in _IDS if record.get(name)), ""), style="bold"),
            Text(head, style="dim"),
        ]
        for name in _LONG:
            if record.get(name):
                parts += [Text(f"\n{name}", style="bold"), laid_out(record[name])]
        panels.append(Panel(Group(*parts)))
    return Group(*panels) if panels else Group("nothing to show")


def rejects_text(found: Sequence[Mapping[str, Any]]) -> Group:
    """Return rejects or pending rows for printing, with what they were judged on."""
    panels = []
    for row in found:
        parts: list[RenderableType] = [
            Text(safe(f"{row['reason']}: {row['detail']}" if row["detail"] else row["reason"]), style="bold"),
            Text(f"{row['step']} / {row['stage']}  {row['task']}  {row['record_id']}", style="dim"),
        ]
        replies = _replies(row["raw"] or "")
        for number, reply in enumerate(replies, start=1):
            heading = f"\nreply {number} of {len(replies)}"
            parts += [Text(heading, style="bold"), laid_out(parsed(reply))]
        if row["raw"] and not replies:
            parts.append(Text("\n" + safe(row["raw"])))
        panels.append(Panel(Group(*parts)))
    return Group(*panels) if panels else Group("nothing to show")


def _records(run_dir: Path, step: str) -> Iterator[dict[str, Any]]:
    run = RunDir(run_dir)
    # dedup keeps ids alone; the questions are in the shard of the same name.
    questions = list_shards(run.step("generate")) if step == "dedup" else {}
    for name, shard in list_shards(run.step(step)).items():
        rows = read_rows(shard.path).to_pylist()
        if step == "dedup":
            known = read_rows(questions[name].path).to_pylist() if name in questions else []
            texts = {row["question_id"]: row for row in known}
            rows = [texts.get(row["question_id"], row) for row in rows]
        yield from rows


def _pick(
    rows: Iterable[dict[str, Any]], wanted: Mapping[str, str], n: int
) -> tuple[list[dict[str, Any]], dict[str, Counter[str]]]:
    """Return the first ``n`` rows with the ``wanted`` values, and the values seen on the way to them."""
    found: list[dict[str, Any]] = []
    seen: dict[str, Counter[str]] = {name: Counter() for name in wanted}
    for row in rows:
        for name in wanted:
            seen[name][row.get(name) or ""] += 1
        if all(row.get(name) == value for name, value in wanted.items()):
            found.append(row)
            if len(found) == n:
                break
    return found, seen


def _total(run_dir: Path, step: str, kind: Kind) -> int:
    counts = sum((shard.counts for shard in list_shards(RunDir(run_dir).step(step)).values()), Counts())
    return {"rows": counts.out, "rejects": counts.rejected.total(), "pending rows": counts.pending}[kind]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def laid_out(value: Any) -> RenderableType:
    """Return a value for printing: lists as bullets, records a line a key, all indented however it wraps."""
    if isinstance(value, list) and not _is_short(value):
        bullets = Table.grid(padding=(0, 1, 0, 0))
        for item in value:
            bullets.add_row("-", laid_out(item))
        return bullets
    if isinstance(value, dict):
        lines: list[RenderableType] = []
        for key, item in value.items():
            if isinstance(item, dict) or (isinstance(item, list) and not _is_short(item)):
                lines += [Text(safe(f"{key}:")), Padding(laid_out(item), (0, 0, 0, 2))]
            elif item not in (None, []):
                lines.append(Text(safe(f"{key}: ")) + _line(item))
        return Group(*lines)
    return _line(value)


def _is_short(value: list[Any]) -> bool:
    """Whether a list reads best on one line: numbers, or nothing at all."""
    return all(isinstance(item, int | float) for item in value)


def _line(value: Any) -> Text:
    return Text(safe(", ".join(map(str, value)) if isinstance(value, list) else str(value)))


def safe(text: str) -> str:
    """Return a text without the characters that a terminal would obey rather than print."""
    return _CONTROL.sub("\ufffd", text)


def _replies(raw: str) -> list[str]:
    """Return the replies that a vote was counted from; none where ``raw`` is anything else than their list."""
    value = parsed(raw)
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else []


def parsed(text: str) -> Any:
    """Return the JSON record or list in ``text``; ``text`` itself where it is none, or too deep to be laid out."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) and _is_flat(value, _DEEPEST) else text


def _is_flat(value: Any, levels: int) -> bool:
    """Whether lists and records stand in each other at most so many levels deep."""
    if not isinstance(value, dict | list):
        return True
    return levels > 0 and all(
        _is_flat(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value)
    )
