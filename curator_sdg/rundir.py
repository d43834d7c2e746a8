"""The layout of a run directory, and what can be read from it without doing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curator_sdg.config import Config
from curator_sdg.errors import SdgError
from curator_sdg.ledger import Ledger, StepAccount, step_account
from curator_sdg.store import REJECTS, list_shards, read_json, read_rows

# Step -> folder of its shards, in the order of the flow.
FOLDERS: Mapping[str, str] = {
    "collect": "collected",
    "seeds": "seeds",
    "generate": "questions",
    "dedup": "dedup",
    "enrich": "answers",
    "curate": "curated",
    "package": "examples",
}
STEPS = tuple(FOLDERS)


@dataclass(frozen=True)
class RunDir:
    """The layout of a run directory."""

    path: Path

    def step(self, name: str) -> Path:
        """Return the folder of a step's shards."""
        return self.path / FOLDERS[name]

    @property
    def journal(self) -> Path:
        """The folder of everything a teacher ever replied."""
        return self.path / "journal"

    @property
    def package(self) -> Path:
        """The folder to take away."""
        return self.path / "package"

    @property
    def ledger(self) -> Path:
        """The accounts, as last computed."""
        return self.path / "ledger.json"

    @property
    def config(self) -> Path:
        """The configuration in full, with versions and fingerprints."""
        return self.path / "run.yaml"

    @property
    def failed_tasks(self) -> Path:
        """Tasks that could not be loaded, and why."""
        return self.path / "failed_tasks.json"


def fan_out(step: str, config: Config) -> int:
    """Return how many results a step plans for each row that comes in."""
    return {"generate": config.generate.questions_per_seed, "package": len(config.package.variants)}.get(step, 1)


def compute_ledger(config: Config, until: str = STEPS[-1]) -> Ledger:
    """Return the accounts of a run from its shards alone; the steps that have begun."""
    run = RunDir(config.run.dir.absolute())
    accounts: list[StepAccount] = []
    expected: int | None = None
    every: list[str] = []
    for step in STEPS[: STEPS.index(until) + 1]:
        shards = list_shards(run.step(step))
        if not shards:
            break
        if step == "seeds":
            every = list(shards)
        counts = {name: shard.counts for name, shard in shards.items()}
        incoming = None if expected is None else expected * fan_out(step, config)
        account = step_account(step, counts, incoming, every=[] if step in ("collect", "seeds") else every)
        accounts.append(account)
        expected = account.counts.out
    return Ledger(accounts, read_json(run.failed_tasks) or {})


def load_run(run_dir: Path) -> Config:
    """Return the configuration of a run from its directory.

    Raises:
        SdgError: If it is no run directory.
    """
    path = RunDir(run_dir).config
    if not path.is_file():
        raise SdgError(f"{run_dir}: is no run directory: it has no {path.name}")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document = {key: value for key, value in document.items() if key in Config.model_fields}
    document["run"]["dir"] = str(run_dir)
    return Config.model_validate(document)


def rejects(run_dir: Path, step: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rejects of a run (or of one step), each with its step."""
    run = RunDir(run_dir)
    for name in STEPS if step is None else (step,):
        for shard in list_shards(run.step(name)).values():
            for row in read_rows(shard.path, REJECTS).to_pylist():
                yield name, row
