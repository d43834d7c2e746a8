"""The catalogue: which lm-eval tasks may become seeds, from which training split, under which terms.

It is reviewed data, one YAML file a family under ``configs/catalog``. A family lists its sources, a source the
leaf tasks that read it; what differs between datasets stands here, not in code.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from curator_sdg.config import Obligation, Section
from curator_sdg.errors import ConfigError
from curator_sdg.records import AnswerFormat, Depth, Framing, Group, Kind
from curator_sdg.resources import data_dir

OutputType = Literal["multiple_choice", "generate_until", "loglikelihood", "loglikelihood_rolling"]


class Fields(Section):
    """Where a row keeps its parts: Jinja templates over the row, as lm-eval writes them, or column names."""

    question: str = Field(description="The question alone, without the prompt's scaffold.")
    context: str | None = Field(None, description="What must be read to answer it.")
    context_optional: bool = Field(False, description="Keep rows whose context is empty.")
    options: str | None = Field(None, description="The options' texts, where lm-eval's choices are only letters.")
    gold: str | None = Field(None, description="The column of the right answer; a blank one is `gold_missing`.")


class TaskSpec(Section):
    """An lm-eval leaf task."""

    name: str
    yaml: str = Field(description="The task's file, relative to lm_eval/tasks.")
    output_type: OutputType
    kind: Kind
    framing: Framing
    depth: Depth
    answer_format: AnswerFormat = Field(description="Of most rows; an adapter may decide row by row.")
    adapter: str | None = Field(None, description="One of seeds.adapters, or package.module:function.")
    fields: Fields

    @model_validator(mode="after")
    def _has_a_way(self) -> TaskSpec:
        if self.adapter is None and self.kind != "multiple_choice":
            raise ValueError("a generative task needs an adapter")
        return self


class Source(Section):
    """A training split, as the hub names it."""

    dataset_path: str = Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)?$")
    dataset_name: str | None = Field(None, pattern=r"^\w[\w.-]*$")
    split: str = Field(pattern=r"^\w[\w.-]*$")
    held_out: tuple[str, ...] = Field(description="Splits that are evaluated on. For the reader: nothing opens them.")
    columns: tuple[str, ...] = Field(min_length=1, description="Columns that every row must have.")
    rows: int | None = Field(None, description="Rows on the hub, where known.")
    revision: str | None = Field(None, description="A commit on the hub, to pin it.")
    licence: str = Field(description="SPDX where there is one; `unknown` where nobody knows.")
    obligations: tuple[Obligation, ...] = Field(min_length=1)
    evidence: str = Field(description="Where the licence is stated.")

    @model_validator(mode="after")
    def _not_held_out(self) -> Source:
        if self.split in self.held_out:
            raise ValueError(f"split {self.split!r} is held out: it must never be a source of seeds")
        return self

    @property
    def triple(self) -> tuple[str, str | None, str]:
        """What identifies the source: (dataset_path, dataset_name, split)."""
        return self.dataset_path, self.dataset_name, self.split

    def __str__(self) -> str:
        return "/".join(part for part in self.triple if part)


class SourceSpec(Source):
    """A source with the tasks that read it."""

    domain: str | None = Field(None, description="Where it is not the family's.")
    language: str | None = Field(None, description="Where it is not the family's; BCP 47.")
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)


class FamilySpec(Section):
    """One file of the catalogue."""

    family: str
    group: Group
    domain: str
    language: str = "en"
    sources: tuple[SourceSpec, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Entry:
    """A task with everything that its family and source say about it."""

    task: str
    family: str
    group: Group
    domain: str
    language: str
    source: Source
    spec: TaskSpec


class Catalog:
    """All catalogued tasks by name."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = dict(entries)

    def entry(self, task: str) -> Entry:
        """Return the entry of an lm-eval task.

        Raises:
            ConfigError: If the task is not catalogued; with the nearest names.
        """
        if found := self.entries.get(task):
            return found
        near = difflib.get_close_matches(task, self.entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`curator-sdg tasks` lists those that are"
        raise ConfigError(f"task {task!r} is not in the catalogue; {hint}")

    @property
    def triples(self) -> frozenset[tuple[str, str | None, str]]:
        """The splits that may be read."""
        return frozenset(entry.source.triple for entry in self.entries.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row a task, in order of group, family and task, for listings."""
        ordered = sorted(self.entries.values(), key=lambda e: (e.group, e.family, e.task))
        return [
            {
                "task": entry.task,
                "family": entry.family,
                "group": entry.group,
                "domain": entry.domain,
                "output_type": entry.spec.output_type,
                "dataset_path": entry.source.dataset_path,
                "dataset_name": entry.source.dataset_name,
                "split": entry.source.split,
                "licence": entry.source.licence,
                "status": "included",
                "reason": "",
            }
            for entry in ordered
        ]


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read every ``*.yaml`` of ``folder``, by default the catalogue that ships with the package.

    Raises:
        ConfigError: Naming the file and the key that is wrong.
    """
    folder = folder or data_dir("catalog")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"{folder}: holds no catalogue (*.yaml)")
    entries: dict[str, Entry] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for entry in _read(file):
            if entry.task in entries:
                raise ConfigError(f"{file}: task {entry.task!r} is already catalogued in {origin[entry.task]}")
            entries[entry.task], origin[entry.task] = entry, file
    return Catalog(entries)


def _read(file: Path) -> list[Entry]:
    try:
        family = FamilySpec.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not valid YAML: {error}") from None
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from None
    return [
        Entry(
            task=task.name,
            family=family.family,
            group=family.group,
            domain=source.domain or family.domain,
            language=source.language or family.language,
            source=source,
            spec=task,
        )
        for source in family.sources
        for task in source.tasks
    ]
