"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from curator_sdg.ledger import Ledger


def ledger_table(ledger: Ledger) -> Table:
    """Return the accounts of a run: a line a step, the reasons by falling count."""
    table = Table(title=None if not ledger.problems else "DOES NOT BALANCE", title_style="red")
    table.add_column("step")
    for name in ("planned", "out", "rejected", "pending", "surplus"):
        table.add_column(name, justify="right")
    table.add_column("reasons")
    for step in ledger.steps:
        row = step.to_json()
        reasons = ", ".join(f"{reason} {count}" for reason, count in row["rejected"].items())
        figures = (row["planned"], row["out"], sum(row["rejected"].values()), row["pending"], row["surplus"])
        table.add_row(step.step, *(f"{figure:,}" for figure in figures), reasons)
    for name in ledger.failed_tasks:
        table.caption = f"tasks that could not be loaded: {', '.join(ledger.failed_tasks)}" if name else None
    return table


def tasks_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the catalogue's tasks, a line each."""
    table = Table()
    for name in ("task", "family", "group", "domain", "source", "split", "licence", "status"):
        table.add_column(name, overflow="fold")
    for row in rows:
        source = row["dataset_path"] + (f" ({row['dataset_name']})" if row["dataset_name"] else "")
        cells = (row["task"], row["family"], row["group"], row["domain"], source, row["split"], row["licence"])
        table.add_row(*map(str, cells), row["status"] + (f": {row['reason']}" if row["reason"] else ""))
    return table
