"""What rows have cost in tokens, summed over any columns: read from the rows and rejects themselves.

Every row carries the tokens that each step has spent on it (struct ``TOKENS``), and so does its reject. Columns of
Parquet are summed as they are, without a Python object a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curator_sdg.config import ASKING, Asking
from curator_sdg.records import TOKEN_COLUMNS

_COLUMN = dict(zip(ASKING, TOKEN_COLUMNS, strict=True))


class Spent(NamedTuple):
    """Requests that were answered, and their tokens as the endpoint counts them.

    Attributes:
        requests: Replies.
        prompt: Prompt tokens.
        cached: Of these, from the prefix cache, as far as the endpoint tells.
        completion: Completion tokens.
        uncounted: Replies about rows of which some count is not known; their known counts are among the others.
    """

    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    uncounted: int = 0

    def plus(self, other: Spent) -> Spent:
        """Return the sums."""
        return Spent(*(one + two for one, two in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Rows:
    """A number of rows, and what was spent on them in each step.

    Attributes:
        rows: How many.
        steps: What was spent; a step that spent nothing need not be there.
    """

    rows: int = 0
    steps: Mapping[Asking, Spent] = field(default_factory=dict)

    def plus(self, other: Rows) -> Rows:
        """Return the sums."""
        steps = {step: self.at(step).plus(other.at(step)) for step in {**self.steps, **other.steps}}
        return Rows(self.rows + other.rows, steps)

    def at(self, step: Asking) -> Spent:
        """Return what was spent in one step."""
        return self.steps.get(step, Spent())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, short enough for a footer."""
        return {"rows": self.rows, **{step: list(spent) for step, spent in self.steps.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rows:
        """Return what :meth:`to_json` wrote."""
        return cls(data["rows"], {step: Spent(*data[step]) for step in ASKING if step in data})


@dataclass(frozen=True)
class ShardSpent:
    """What a shard's rows and rejects have cost, in all steps up to its own.

    Attributes:
        out: The rows; examples of one question are one row.
        rejected: The rejects, by reason.
    """

    out: Rows = Rows()
    rejected: Mapping[str, Rows] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.Table, rejects: pa.Table) -> ShardSpent:
        """Return the sums over a shard's two tables."""
        found = {reason: spent for (reason,), spent in sum_tokens(rejects, ["reason"]).items()}
        return cls(sum_tokens(one_a_question(rows), []).get((), Rows()), found)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"out": self.out.to_json(), "rejected": {name: rows.to_json() for name, rows in self.rejected.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ShardSpent:
        """Return what :meth:`to_json` wrote."""
        rejected = {name: Rows.from_json(rows) for name, rows in data["rejected"].items()}
        return cls(Rows.from_json(data["out"]), rejected)


def one_a_question(table: pa.Table) -> pa.Table:
    """Return the first row of each question, where a table has rows of questions."""
    if "question_id" not in table.column_names:
        return table
    ids = table["question_id"].combine_chunks()
    distinct = pc.index_in(pc.unique(ids), ids)
    return table if len(distinct) == len(ids) else table.take(distinct)


def sum_tokens(table: pa.Table, by: Sequence[str], steps: Iterable[Asking] = ASKING) -> dict[tuple[Any, ...], Rows]:
    """Return the rows of a table and their tokens by the values of some columns.

    Args:
        table: Rows or rejects; columns of tokens that it lacks were not spent.
        by: Columns; none sums over all rows.
        steps: The steps whose tokens are summed.
    """
    there = [step for step in steps if _COLUMN[step] in table.column_names]
    columns: dict[str, Any] = {name: table[name] for name in by}
    columns[_ROWS] = pa.repeat(1, table.num_rows)
    for step in there:
        tokens = table[_COLUMN[step]]
        # A missing struct is a row that nothing was asked about: all of its figures are null, and add nothing.
        figures = {name: pc.struct_field(tokens, name) for name in Spent._fields if name != "uncounted"}
        unknown = pc.or_(pc.is_null(figures["prompt"]), pc.is_null(figures["completion"]))
        figures["uncounted"] = pc.if_else(unknown, figures["requests"], 0)
        columns |= {f"{step}.{name}": figures[name] for name in Spent._fields}
    added = [name for name in columns if name not in by]
    grouped = pa.table(columns).group_by(list(by)).aggregate([(name, "sum") for name in added])
    return {
        tuple(row[name] for name in by): Rows(
            row[f"{_ROWS}_sum"],
            {step: spent for step in there if any(spent := Spent(*_figures(row, step)))},
        )
        for row in grouped.to_pylist()
        if row[f"{_ROWS}_sum"]  # a sum over no rows at all is a row of nulls
    }


def add_rows(parts: Iterable[Rows]) -> Rows:
    """Return the sums."""
    return reduce(Rows.plus, parts, Rows())


_ROWS = "rows of the table"


def _figures(row: Mapping[str, Any], step: str) -> Iterable[int]:
    return (row[f"{step}.{name}_sum"] or 0 for name in Spent._fields)
