"""Which training rows become seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from curator_sdg.config.base import Obligation, Section

_SELECTORS = ("family:", "domain:", "group:", "language:", "framing:")


class TaskChoice(Section):
    """Some lm-eval tasks, with their own cap on rows."""

    name: str = Field(description="A task, or family:, domain:, group:, language: or framing:NAME, or all.")
    limit: int | None = Field(None, ge=1)

    @property
    def is_task(self) -> bool:
        """Whether it names one task."""
        return self.name != "all" and not self.name.startswith(_SELECTORS)


class Caps(Section):
    """Rows a source, for tasks without a limit of their own."""

    knowledge: int | None = Field(None, ge=1)
    reasoning: int | None = Field(None, ge=1)


class LicenceOverride(Section):
    """What a user found out about a source's terms."""

    licence: str = Field(description="SPDX where there is one.")
    obligations: tuple[Obligation, ...] = Field(description="What it asks; empty for nothing.")
    evidence: str = Field(min_length=1, description="Where it is stated; travels with the seeds.")


class SeedsSection(Section):
    """Which training rows become seeds."""

    tasks: tuple[TaskChoice, ...] = Field(
        min_length=1,
        description="lm-eval task names (`curator-sdg tasks` lists them), family:, domain:, group:, "
        "language: or framing:NAME, or all; or {name, limit}.",
    )
    exclude: tuple[str, ...] = Field((), description="Tasks that stay out, by name or selector.")
    include_path: tuple[Path, ...] = Field((), description="Folders of your own tasks' YAML files, as lm-eval has it.")
    data_root: Path | None = Field(
        None,
        description="A local mirror, <org>__<name>/<config or default>/<split>.jsonl or .parquet; "
        "null loads the training split from the hub.",
    )
    cache_dir: Path | None = Field(
        None, description="Where training splits of the hub are kept; null: curator_sdg in the user's cache folder."
    )
    limit_per_task: int | None = Field(None, ge=1, description="Rows a task, sampled by row hash.")
    caps: Caps = Field(Caps(), description="Rows a source by group, sampled evenly over its strata.")
    parallel: Literal["one", "all"] = Field(
        "one", description="Of sources with the same items (translations), use the first, or all; named tasks stay."
    )
    obligations: tuple[Obligation, ...] | None = Field(
        None, description="Use only sources that ask for nothing else; null uses all."
    )
    licence_overrides: dict[str, LicenceOverride] = Field(
        {}, description="Settles terms, by dataset_path or dataset_path/dataset_name."
    )
    release: tuple[str, ...] = Field((), description="Tasks that are used whatever the audit of their answers finds.")
    strict: bool = Field(False, description="A task that cannot load ends the run instead of being reported.")

    @field_validator("tasks", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple({"name": item} if isinstance(item, str) else item for item in value)
        return value

    @field_validator("tasks")
    @classmethod
    def _distinct(cls, value: tuple[TaskChoice, ...]) -> tuple[TaskChoice, ...]:
        names = [choice.name for choice in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tasks are listed more than once: {', '.join(twice)}")
        return value
