"""Accounts: what became of every planned row.

``planned = out + rejected + pending + surplus`` holds for every shard when it is published and for every step
over all its shards. Figures come from the shards' footers, never from counters that a crash could skew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from curator_sdg.errors import LedgerError
from curator_sdg.records import TOKEN_COLUMNS, Record, Reject

# Where an account travels on a Curator task.
METADATA_KEY = "curator_sdg"


@dataclass
class Account:
    """What happened to the rows of one shard within one step; rides on the task's ``_metadata``.

    Attributes:
        shard: The shard's name, fixed when the seeds were cut and kept by all later steps.
        planned: Rows in, times the step's declared fan-out.
        rejects: Rows dropped for their content.
        pending: Rows whose requests failed in transport; they are asked again on resume.
        surplus: Rows that were good but not wanted.
        upstream: Content hash of the shard that was read, so that a change upstream is noticed.
    """

    shard: str
    planned: int
    rejects: list[Reject] = field(default_factory=list)
    pending: list[Reject] = field(default_factory=list)
    surplus: int = 0
    upstream: str = ""

    def reject(
        self,
        record: Record,
        *,
        stage: str,
        reason: str,
        detail: str = "",
        raw: str = "",
        key: str = "",
        tokens: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that ``record`` was dropped by ``stage`` for ``reason``.

        Args:
            record: The row that came in; what it carries of earlier steps' tokens, its reject carries on.
            stage: The stage's name.
            reason: A short, fixed word to count by.
            detail: What exactly, for a reader.
            raw: The text it was judged on, whole.
            key: The row's name where the record's id is not that.
            tokens: What this step has spent on it, by column: ``{"generate_tokens": {...}}``.
        """
        reject = _reject(record, stage, reason, detail, raw, key)
        for column in TOKEN_COLUMNS:
            reject[column] = (tokens or {}).get(column, record.get(column))
        self.rejects.append(reject)

    def postpone(self, record: Record, *, stage: str, reason: str, detail: str = "", key: str = "") -> None:
        """Note that ``record`` could not be asked about and is to be asked again."""
        self.pending.append(_reject(record, stage, reason, detail, "", key))


def _reject(record: Record, stage: str, reason: str, detail: str, raw: str, key: str) -> Reject:
    record_id = key or record.get("question_id") or record.get("seed_id") or ""
    return Reject(
        record_id=record_id, task=record.get("task") or "", stage=stage, reason=reason, detail=detail, raw=raw
    )


def planned_name(record_id: str, sample: int) -> str:
    """Return the name of one of several rows that are planned for a record, whatever becomes of it."""
    return f"{record_id}-{sample}"


def account_of(task: Any) -> Account:
    """Return the account that rides on a Curator ``task``; a task without one gets its own.

    Our stages thus work in anybody's pipeline: what they drop is then found in the last task's account.
    """
    account = task._metadata.get(METADATA_KEY)
    if not isinstance(account, Account):
        account = Account(shard=str(task._metadata.get("shard", "")), planned=task.num_items)
        task._metadata[METADATA_KEY] = account
    return account


@dataclass
class Counts:
    """The figures of a shard, or the sum of them over a step."""

    planned: int = 0
    out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    surplus: int = 0

    @classmethod
    def of(cls, account: Account, out: int) -> Counts:
        """Return the figures of a finished shard."""
        reasons = Counter(reject["reason"] for reject in account.rejects)
        return cls(account.planned, out, reasons, len(account.pending), account.surplus)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, reasons by falling count."""
        reasons = dict(sorted(self.rejected.items(), key=lambda item: (-item[1], item[0])))
        return {**vars(self), "rejected": reasons}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        """Return the figures that :meth:`to_json` wrote."""
        return cls(**{**data, "rejected": Counter(data["rejected"])})

    @property
    def settled(self) -> int:
        """Rows whose fate is known."""
        return self.out + self.rejected.total() + self.pending + self.surplus

    @property
    def balanced(self) -> bool:
        """Whether every planned row is settled exactly once."""
        return self.planned == self.settled

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.planned + other.planned,
            self.out + other.out,
            self.rejected + other.rejected,
            self.pending + other.pending,
            self.surplus + other.surplus,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.planned - other.planned,
            self.out - other.out,
            self.rejected - other.rejected,
            self.pending - other.pending,
            self.surplus - other.surplus,
        )


@dataclass
class StepAccount:
    """A step's figures, and where they do not add up."""

    step: str
    counts: Counts
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the step as plain data."""
        return {"step": self.step, **self.counts.to_json()}


@dataclass
class Ledger:
    """All steps of a run, in order.

    Attributes:
        steps: Those that have begun.
        failed_tasks: Tasks that could not be loaded, and why.
        usage: What everything in the journal has used, what of it is for accepted questions and for rejects, and what
            that costs, null where a price or a count is unknown; see :func:`curator_sdg.costs.bill`.
        short: Tasks with fewer accepted questions than ``run.accepted_per_task``: how many were ``accepted``, and of
            how many ``seeds`` how many were ``asked`` about.
    """

    steps: list[StepAccount]
    failed_tasks: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    short: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Everything that does not add up; empty when the run is sound."""
        return [problem for step in self.steps for problem in step.problems]

    @property
    def pending(self) -> int:
        """Rows still to be asked about, over all steps."""
        return sum(step.counts.pending for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as plain data."""
        return {
            "balanced": not self.problems,
            "problems": self.problems,
            "failed_tasks": self.failed_tasks,
            "usage": self.usage,
            "short": self.short,
            "steps": [step.to_json() for step in self.steps],
        }

    def check(self) -> None:
        """Fail if a row is unaccounted for.

        Raises:
            LedgerError: Naming each step whose figures do not add up.
        """
        if self.problems:
            raise LedgerError("the ledger does not balance: " + "; ".join(self.problems))


def step_account(
    step: str, shards: Mapping[str, Counts], expected: int | None, *, every: Iterable[str] = ()
) -> StepAccount:
    """Sum a step over its published ``shards``.

    Args:
        step: The step's name.
        shards: Figures by shard name.
        expected: Rows that the step before hands over, times this step's fan-out; null for the first step.
        every: The names of all shards the step will have; rows of those not yet published are pending.
    """
    total = sum(shards.values(), Counts())
    problems = [f"{step}/{name}: {_sum(c)}" for name, c in sorted(shards.items()) if not c.balanced]
    if expected is not None:
        missing = expected - total.planned
        unpublished = set(every) - shards.keys()
        if missing < 0 or (missing and not unpublished):
            problems.append(f"{step}: {expected} rows came in, {total.planned} were planned")
        total.planned = expected
        total.pending += max(0, missing)
    return StepAccount(step, total, problems)


def _sum(counts: Counts) -> str:
    return (
        f"planned {counts.planned} is not out {counts.out} + rejected {counts.rejected.total()} "
        f"+ pending {counts.pending} + surplus {counts.surplus}"
    )
