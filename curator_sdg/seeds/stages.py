"""Seeds as Curator stages: a task names a source, the stage returns its seeds as a ``DocumentBatch``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loguru import logger
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, Task

from curator_sdg.config import TaskChoice
from curator_sdg.errors import SourceError
from curator_sdg.identity import stable_hash
from curator_sdg.ledger import METADATA_KEY, Account
from curator_sdg.records import SEED, to_table
from curator_sdg.seeds.catalog import Catalog, load_catalog
from curator_sdg.seeds.collect import STAGE, Collected, collect_task
from curator_sdg.shards import SOURCE_ERROR


@dataclass
class SourceTask(Task[str]):
    """One lm-eval task to collect seeds from; ``data`` is its name.

    Attributes:
        limit: Rows to sample; null for all.
    """

    data: str = ""
    limit: int | None = None

    @property
    def num_items(self) -> int:
        """One source."""
        return 1

    def validate(self) -> bool:
        """Whether it names a task."""
        return bool(self.data)

    def get_deterministic_id(self) -> str:
        """The same in every run that asks for the same rows."""
        return stable_hash(self.data, self.limit, size=8)


def source_tasks(
    choices: Iterable[TaskChoice], *, limit: int | None = None, catalog: Catalog | None = None
) -> list[SourceTask]:
    """Return the tasks of a configuration, each with its own limit or else ``limit``.

    Raises:
        ConfigError: If one of them is not catalogued.
    """
    catalog = catalog or load_catalog()
    return [
        SourceTask(dataset_name=str(catalog.entry(choice.name).source), data=choice.name, limit=choice.limit or limit)
        for choice in choices
    ]


@dataclass
class CollectSeeds(ProcessingStage[SourceTask, DocumentBatch]):
    """Read a task's training split and normalise it to seeds (schema ``records.SEED``).

    The batch carries the account of its rows. A source that cannot be loaded gives a batch without rows and the
    reason in ``_metadata["source_error"]``: one lost source must not end a run of seventy.

    Attributes:
        data_root: A local mirror; null reads the hub.
        seed: Of the sampling.
        catalog_dir: Null for the catalogue that ships with the package.
    """

    data_root: str | None = None
    seed: int = 0
    catalog_dir: str | None = None
    name: str = STAGE
    _catalog: Catalog | None = field(default=None, init=False, repr=False)

    def inputs(self) -> tuple[list[str], list[str]]:
        """A task's name, limit."""
        return ["data"], []

    def outputs(self) -> tuple[list[str], list[str]]:
        """Every column of a seed."""
        return ["data"], list(SEED.names)

    def setup(self, worker_metadata: Any = None) -> None:  # noqa: ARG002 - Curator's signature
        """Read the catalogue once a worker."""
        self._catalog = load_catalog(Path(self.catalog_dir) if self.catalog_dir else None)

    def process(self, task: SourceTask) -> DocumentBatch:
        """Collect one source.

        Raises:
            ConfigError: If the task is not catalogued.
            SplitDenied: If its split may not be read.
        """
        if self._catalog is None:
            self.setup()
        root = Path(self.data_root) if self.data_root else None
        metadata: dict[str, Any] = {**task._metadata, "shard": task.data}
        try:
            found = collect_task(task.data, data_root=root, limit=task.limit, seed=self.seed, catalog=self._catalog)
        except SourceError as error:
            logger.warning(f"{task.data}: no seeds: {error}")
            metadata[SOURCE_ERROR] = str(error)
            found = Collected(to_table([], SEED), Account(shard=task.data, planned=0))
        found.account.upstream = metadata.get("upstream", "")
        metadata[METADATA_KEY] = found.account
        return DocumentBatch(
            dataset_name=task.dataset_name, data=found.table, _metadata=metadata, _stage_perf=task._stage_perf
        )
