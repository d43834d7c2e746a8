"""The layout of a run directory, and what can be read from it without doing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from curator_sdg.config import Config, load
from curator_sdg.errors import SdgError, StoreError
from curator_sdg.store import REJECTS, is_leftover, list_shards, read_rows

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
        ours = "epoch.lock"  # of a start that has just begun
        begun = (self.path / "epoch").is_file()
        if (
            self.path.is_dir()
            and not begun
            and any(path.name != ours and not is_leftover(path.name) for path in self.path.iterdir())
        ):
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
    def servers(self) -> Path:
        """Logs and addresses of the servers that the run starts."""
        return self.path / "servers"

    @property
    def quota(self) -> Path:
        """How many of each task's seeds are asked about, where so many questions of each are wanted."""
        return self.path / "quota.json"

    @property
    def retries(self) -> Path:
        """Rejects that are to be asked about again."""
        return self.path / "retries"

    @property
    def failed_tasks(self) -> Path:
        """Tasks that could not be loaded, and why."""
        return self.path / "failed_tasks.json"

    @property
    def left_out(self) -> Path:
        """Tasks that the configuration's selection leaves out, and why."""
        return self.path / "left_out_tasks.json"


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


def run_document(run: RunDir) -> dict[str, Any]:
    """Return a run's ``run.yaml`` with what a start adds to the configuration: fingerprints, versions."""
    document: dict[str, Any] = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    return document


def rejects(run_dir: Path, step: str | None = None, file: str = REJECTS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rejects of a run (or of one step), each with its step; with ``PENDING`` what is pending."""
    run = RunDir(run_dir)
    for name in STEPS if step is None else (step,):
        for shard in list_shards(run.step(name)).values():
            for row in read_rows(shard.path, file).to_pylist():
                yield name, row
