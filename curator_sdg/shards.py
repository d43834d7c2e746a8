"""The first and last stage of every step: a published shard in, a published shard out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.tasks import DocumentBatch, FileGroupTask

from curator_sdg.epoch import Epoch
from curator_sdg.ledger import METADATA_KEY, Account, account_of
from curator_sdg.records import KEPT
from curator_sdg.store import ROWS, publish_shard, read_rows

# Where the reason stands when a task could not be loaded: such a task has no shard.
SOURCE_ERROR = "source_error"
_FIRST = "first"


def shard_task(
    step: str, shards: Sequence[Path], upstream: str, first: Mapping[str, int] | None = None
) -> FileGroupTask:
    """Return the task that stands for one shard of a step.

    Args:
        step: The step that reads it.
        shards: The folder of its rows, and perhaps that of the list of those to keep.
        upstream: Content hash of all of these.
        first: Tasks of which only the first so many rows are wanted.
    """
    return FileGroupTask(
        dataset_name=step,
        data=[str(path / ROWS) for path in shards],
        _metadata={"shard": shards[0].name, "upstream": upstream, _FIRST: dict(first or {})},
    )


@dataclass
class ReadShard(ProcessingStage[FileGroupTask, DocumentBatch]):
    """Reads a published shard, opens its account, and leaves out what a removal list does not keep.

    Rows of a task beyond the first so many that are wanted are left out, too, and are surplus.

    Attributes:
        fan_out: Results that the step plans for each row.
    """

    fan_out: int = 1
    name: str = "read_shard"

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a task must have."""
        return ["data"], []

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], []

    def process(self, task: FileGroupTask) -> DocumentBatch:
        """Return the shard's rows as one batch."""
        rows, *kept = (Path(file).parent for file in task.data)
        table = read_rows(rows)
        if kept:
            ids = read_rows(kept[0])[KEPT.names[0]]
            table = table.filter(pc.is_in(table[KEPT.names[0]], value_set=ids.combine_chunks()))
        account = Account(
            rows.name, planned=table.num_rows * self.fan_out, upstream=task._metadata.get("upstream", "")
        )
        metadata: dict[str, Any] = {**task._metadata, METADATA_KEY: account}
        if first := metadata.pop(_FIRST, None):
            wanted = _only_first(table, first)
            account.surplus += (table.num_rows - wanted.num_rows) * self.fan_out
            table = wanted
        return DocumentBatch(
            dataset_name=task.dataset_name, data=table, _metadata=metadata, _stage_perf=task._stage_perf
        )


def _only_first(table: pa.Table, first: Mapping[str, int]) -> pa.Table:
    """Return the table without rows of the tasks in ``first`` that come after so many of the same task."""
    seen: Counter[str] = Counter()
    keep = []
    for task in table["task"].to_pylist():
        keep.append(task not in first or seen[task] < first[task])
        seen[task] += 1
    return table.filter(pa.array(keep, pa.bool_()))


@dataclass
class WriteShard(ProcessingStage[DocumentBatch, FileGroupTask]):
    """Publishes a batch, its rejects and its figures as one shard; rows that do not balance end the run.

    Attributes:
        step_dir: The step's folder.
        schema: What the rows must be.
        fingerprint: The step's, kept in the shard's footer.
        epoch: This start of the run; nothing is published once a newer one has taken over.
    """

    step_dir: Path
    schema: pa.Schema
    fingerprint: str = ""
    epoch: Epoch | None = None
    name: str = "write_shard"

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], self.schema.names

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what the task then has."""
        return ["data"], []

    def process(self, task: DocumentBatch) -> FileGroupTask:
        """Return a task that names the published file and carries no rows; a source that failed is passed on."""
        if SOURCE_ERROR in task._metadata:
            return FileGroupTask(dataset_name=task.dataset_name, data=[], _metadata=task._metadata)
        table = task.to_pyarrow().select(self.schema.names).cast(self.schema)
        if self.epoch is not None:
            self.epoch.check(fresh=True)
        shard = publish_shard(self.step_dir, table, account_of(task), self.fingerprint)
        carried = {key: value for key, value in task._metadata.items() if key != METADATA_KEY}
        return FileGroupTask(
            dataset_name=task.dataset_name,
            data=[str(shard.rows)],
            _metadata={**carried, "counts": shard.counts},
            _stage_perf=task._stage_perf,
        )
