"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from curator_sdg.ledger import Ledger
from curator_sdg.report.figures import money

_NARROW, _MIDDLE, _WIDE = 80, 100, 120
_NAMED = 5  # tasks that are listed by name


def ledger_table(ledger: Ledger, *, width: int = _NARROW) -> Table:
    """Return the accounts of a run: a line a step, the reasons by falling count, for ``width`` columns."""
    table = Table(title=None if not ledger.problems else "DOES NOT BALANCE", title_style="red")
    if width < _MIDDLE:  # the reasons need the room that lines would take
        table.box, table.show_edge, table.pad_edge = box.SIMPLE_HEAD, False, False
        table.padding = (0, 0 if width < _NARROW else 1, 0, 0)
    table.add_column("step", no_wrap=True)
    for name in ("planned", "out", "rejected", "pending", "surplus"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reasons", overflow="fold")
    for step in ledger.steps:
        row = step.to_json()
        reasons = "\n".join(f"{reason} {count}" for reason, count in row["rejected"].items())
        figures = (row["planned"], row["out"], sum(row["rejected"].values()), row["pending"], row["surplus"])
        table.add_row(step.step, *(f"{figure:,}" for figure in figures), reasons)
    notes = []
    if ledger.usage.get("replies"):
        notes.append(usage_text(ledger.usage))
    if ledger.failed_tasks:
        failed = list(ledger.failed_tasks)
        more = f" and {len(failed) - _NAMED:,} more (failed_tasks.json)" if len(failed) > _NAMED else ""
        notes.append(f"tasks that could not be loaded: {', '.join(failed[:_NAMED])}{more}")
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table


def usage_text(usage: Mapping[str, Any]) -> str:
    """Return in two lines what the teacher was asked over all starts, and what came of it.

    Args:
        usage: As :func:`curator_sdg.costs.bill` returns it.
    """
    text = f"{usage['replies']:,} replies"
    if usage["uncounted"]:
        return f"{text}, {usage['uncounted']:,} of them without token counts: what was used is not known"
    cached = f" ({usage['cached_tokens'] / usage['prompt_tokens']:.0%} cached)" if usage["cached_tokens"] else ""
    text += f", {usage['prompt_tokens']:,} prompt{cached} and {usage['completion_tokens']:,} completion tokens"
    parts = []
    if usage["cost"] is not None:
        parts.append(f"{money(usage['cost'])} in all")
        if (each := usage["cost_per_accepted_question"]) is not None:
            parts[-1] += f", {money(each)} an accepted question"
        if (tokens := usage["cost_per_million_accepted_tokens"]) is not None:
            parts[-1] += f", {money(tokens)} a million accepted tokens"
    if usage["rejected"]:
        parts.append(_rejects_text(usage))
    if usage["other"]["replies"] and not usage["other"]["uncounted"]:
        parts.append(_other_text(usage["other"]))
    asked = [step for step in usage["steps"] if step["replies"]]
    unpriced = dict.fromkeys(step["model"] for step in asked if step["cost"] is None)
    if unpriced and any(step["cost"] is not None for step in asked):
        parts.append(f"the cost is not known, for no price is set for {' and '.join(unpriced)}")
    return "\n".join([text, "; ".join(parts)]) if parts else text


def _rejects_text(usage: Mapping[str, Any]) -> str:
    """Return what rejects took, in all and by the step that rejected them."""
    name = "completion_tokens" if usage["cost"] is None else "cost"
    steps: dict[str, float] = {}
    for row in usage["rejected"]:
        if row[name] is None or row["uncounted"]:
            return "what rejects took is not known"
        steps[row["step"]] = steps.get(row["step"], 0) + row[name]
    told = money if name == "cost" else "{:,}".format
    by_step = ", ".join(f"{step} {told(taken)}" for step, taken in steps.items())
    took = f"{told(sum(steps.values()))} ({by_step})"
    return f"rejects cost {took}" if name == "cost" else f"completion tokens of rejects: {took}"


def _other_text(other: Mapping[str, Any]) -> str:
    """Return what rows that are pending or surplus, and replies of earlier settings, took."""
    what = "what is pending, surplus or of earlier settings"
    if other["cost"] is None:
        return f"{what} took {other['completion_tokens']:,}"
    return f"{what} cost {money(other['cost'])}"


def tasks_table(rows: Sequence[dict[str, Any]], *, width: int = _WIDE) -> Table:
    """Return tasks, a line each; below 120 columns without family, group, domain and split."""
    table = Table()
    cells: dict[str, Callable[[dict[str, Any]], Any]] = {
        "task": lambda row: row["task"],
        "family": lambda row: row["family"],
        "group": lambda row: row["group"],
        "domain": lambda row: row["domain"],
        "source": lambda row: (
            (row["dataset_path"] or "") + (f" ({row['dataset_name']})" if row["dataset_name"] else "")
        ),
        "split": lambda row: row["split"],
        "licence": lambda row: row["licence"],
        "status": lambda row: row["status"] + (f": {row['reason']}" if row["reason"] else ""),
    }
    names = [name for name in cells if width >= _WIDE or name not in ("family", "group", "domain", "split")]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cells[name](row) or "")) for name in names))
    return table
