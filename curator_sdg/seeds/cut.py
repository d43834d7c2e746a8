"""Cuts all collected seeds into shards: in hash order, so that every shard is a fair mix of all tasks.

A shard is a fixed slice of that order, its number fixed for good; a limit only ends the order early. A run that grows
thus keeps its shards, and what is in their journals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from curator_sdg.identity import stable_hash
from curator_sdg.ledger import Account
from curator_sdg.records import SEED, to_records
from curator_sdg.store import Shard, publish_shard, read_rows


def shard_name(index: int) -> str:
    """Return the name of the shard with this number; names sort as numbers do."""
    return f"{index:06d}"


def cut_seeds(
    collected: Sequence[Shard], step_dir: Path, *, shard_size: int, limit: int | None, fingerprint: str
) -> list[Shard]:
    """Publish the seeds' shards and return them in order.

    The same row reached through two tasks is one seed; the second is a ``duplicate`` reject. Seeds past ``limit`` are
    surplus. Both stand in the last shard's account.

    Args:
        collected: The shards of the collect step, one a task.
        step_dir: Folder of the seeds.
        shard_size: Seeds a shard.
        limit: Seeds in all; null for no limit.
        fingerprint: The step's.
    """
    table = pa.concat_tables([read_rows(shard.path) for shard in collected]) if collected else SEED.empty_table()
    ids = np.asarray(table["seed_id"].to_pylist(), dtype="S32")
    order = np.argsort(ids, kind="stable")
    first = np.ones(len(order), dtype=bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    unique, repeated = order[first], order[~first]
    chosen = unique[:limit]
    upstream = stable_hash([shard.content for shard in collected])
    slices = [chosen[start : start + shard_size] for start in range(0, len(chosen), shard_size)]
    shards = []
    for index, positions in enumerate(slices):
        account = Account(shard_name(index), planned=len(positions), upstream=upstream)
        if index == len(slices) - 1:
            for record in to_records(table.take(pa.array(repeated)), SEED):
                detail = f"the row stands in another task's source: {record['source']['dataset_path']}"
                account.reject(record, stage="cut_seeds", reason="duplicate", detail=detail, raw=record["question"])
            account.surplus = len(unique) - len(chosen)
            account.planned += len(repeated) + account.surplus
        shards.append(publish_shard(step_dir, table.take(pa.array(positions)), account, fingerprint))
    return shards
