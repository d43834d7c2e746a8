"""The layout of a run directory, and what can be read from it without doing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curator_sdg.config import Config, load
from curator_sdg.errors import SdgError, StoreError
from curator_sdg.identity import stable_hash
from curator_sdg.ledger import Ledger, StepAccount, step_account
from curator_sdg.store import REJECTS, Shard, list_shards, read_json, read_rows

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

    def claim(self) -> None:
        """Make sure that the directory is ours to write: new, empty, or a run's.

        Raises:
            StoreError: If it holds something else.
        """
        if self.path.is_dir() and not (self.path / "epoch").is_file() and any(self.path.iterdir()):
            raise StoreError(
                f"{self.path}: is not empty and no run of this project; choose another directory with --run-dir"
            )

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
    def cut(self) -> Path:
        """Into how many shards the seeds are cut, fixed when the run is first cut."""
        return self.path / "cut.json"

    @property
    def failed_tasks(self) -> Path:
        """Tasks that could not be loaded, and why."""
        return self.path / "failed_tasks.json"


def fan_out(step: str, config: Config) -> int:
    """Return how many results a step plans for each row that comes in."""
    return {"generate": config.generate.questions_per_seed, "package": len(config.package.variants)}.get(step, 1)


# Step -> the steps whose shards of the same name each of its shards is made from.
INPUTS: Mapping[str, tuple[str, ...]] = {
    "generate": ("seeds",),
    "enrich": ("generate", "dedup"),
    "curate": ("enrich",),
    "package": ("curate",),
}


def waves(names: Sequence[str], config: Config) -> list[list[str]]:
    """Return the names of the seeds' shards wave by wave."""
    size = config.run.wave_size // config.run.shard_size
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


class Current:
    """The shards of a run that are current: made under these fingerprints, from what lies upstream now.

    All others are stale, whatever their figures say: made from another configuration, or from other input.

    Args:
        run: The run directory.
        config: The run's configuration.
        fingerprints: Each step's.
    """

    def __init__(self, run: RunDir, config: Config, fingerprints: Mapping[str, str]) -> None:
        self._run, self._config, self._fingerprints = run, config, fingerprints
        self._read: dict[str, dict[str, Shard]] = {}

    def shards(self, step: str) -> dict[str, Shard]:
        """Return the current shards of a step by name, in order; read once."""
        if step not in self._read:
            found = list_shards(self._run.step(step))
            self._read[step] = {name: shard for name, shard in found.items() if self._is_current(step, shard)}
        return self._read[step]

    def fingerprint(self, step: str) -> str:
        """Return the fingerprint that a step's shards must have."""
        own = self._fingerprints.get(step, "")
        # The limit ends the order of seeds early; it is no part of the fingerprints of what comes after.
        return stable_hash(own, self._config.run.limit) if step == "seeds" else own

    def upstream(self, step: str, name: str) -> str | None:
        """Return the content hash of what a shard is made from; null while some of that is missing."""
        if step == "seeds":
            return stable_hash([shard.content for shard in self.shards("collect").values()])
        if step == "dedup":
            names = list(self.shards("seeds"))
            end = next((wave[-1] for wave in waves(names, self._config) if name in wave), None)
            compared = names[: names.index(end) + 1] if end else []
            inputs = [*self.shards("seeds").values(), *(self.shards("generate").get(name) for name in compared)]
        else:
            inputs = [self.shards(source).get(name) for source in INPUTS[step]]
        if None in inputs:
            return None
        return stable_hash([shard.content for shard in inputs if shard is not None])

    def _is_current(self, step: str, shard: Shard) -> bool:
        if shard.fingerprint != self.fingerprint(step):
            return False
        # What was collected depends on files that are not ours; the run itself compares those.
        return step == "collect" or shard.upstream == self.upstream(step, shard.name)


def compute_ledger(config: Config, until: str = STEPS[-1]) -> Ledger:
    """Return the accounts of a run from its current shards alone; the steps that have begun."""
    run = RunDir(config.run.dir.absolute())
    current = Current(run, config, yaml.safe_load(run.config.read_text(encoding="utf-8"))["fingerprints"])
    accounts: list[StepAccount] = []
    expected: int | None = None
    every: list[str] = []
    for step in STEPS[: STEPS.index(until) + 1]:
        shards = current.shards(step)
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
        SdgError: If it is no run directory, or its ``run.yaml`` is damaged or foreign.
    """
    path = RunDir(run_dir).config
    if not path.is_file():
        raise SdgError(f"{run_dir}: is no run directory: it has no {path.name}")
    try:
        config = load(path)
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if missing := [key for key in ("run", "fingerprints") if not isinstance(document.get(key), dict)]:
            raise SdgError(f"it has no {' and no '.join(missing)}")
    except SdgError as error:
        reason = str(error).replace(f"{path}: ", "").replace("\n", "; ")
        raise SdgError(f"{path}: is no configuration of a run of this project ({reason})") from None
    return config.model_copy(update={"run": config.run.model_copy(update={"dir": run_dir})})


def rejects(run_dir: Path, step: str | None = None, file: str = REJECTS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rejects of a run (or of one step), each with its step; with ``PENDING`` what is pending."""
    run = RunDir(run_dir)
    for name in STEPS if step is None else (step,):
        for shard in list_shards(run.step(name)).values():
            for row in read_rows(shard.path, file).to_pylist():
                yield name, row
