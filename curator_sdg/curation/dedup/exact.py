"""Exact duplicates of questions by identity: the earliest in stable order is kept, whatever the workers do.

Workers read the texts and hand over 16 bytes a question; the driver compares these; workers then write each shard's
list of what is kept. Nothing of the text reaches the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curator_sdg.curation.questions import readable
from curator_sdg.identity import question_identity
from curator_sdg.ledger import Account
from curator_sdg.records import KEPT, QUESTION, to_records, to_table
from curator_sdg.store import Shard, publish_shard, read_rows

if TYPE_CHECKING:
    from distributed import Client

Digests = npt.NDArray[np.bytes_]  # 16 bytes each
Positions = npt.NDArray[np.int64]


def shard_digests(shard: Path) -> Digests:
    """Return the identities of the questions (or seeds) of one shard, in row order."""
    table = read_rows(shard, columns=["question", "context", "options"])
    hashes = (question_identity(row["question"], row["context"], row["options"]) for row in table.to_pylist())
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype="S16")


def first_occurrence(digests: Digests) -> Positions:
    """Return, for each position, the first position that holds the same digest."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def write_kept(
    step_dir: Path, questions: Shard, originals: Sequence[str | None], upstream: str, fingerprint: str
) -> Shard:
    """Publish which questions of a shard are kept.

    Args:
        step_dir: Folder of the dedup step.
        questions: The shard of questions.
        originals: For each question the id of what it repeats, null where it is the first of its kind.
        upstream: Content hash of all that was compared.
        fingerprint: The step's.
    """
    account = Account(questions.name, planned=len(originals), upstream=upstream)
    kept = []
    for record, original in zip(to_records(read_rows(questions.path), QUESTION), originals, strict=True):
        if original is None:
            kept.append({"question_id": record["question_id"]})
        else:
            account.reject(
                record, stage="dedup", reason="duplicate", detail=f"the same as {original}", raw=readable(record)
            )
    return publish_shard(step_dir, to_table(kept, KEPT), account, fingerprint)


class ExactDedup:
    """Deduplicates wave after wave; what earlier waves hold is read once."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str], Digests] = {}

    def publish(
        self,
        client: Client,
        seeds: Sequence[Shard],
        questions: Sequence[Shard],
        names: set[str],
        step_dir: Path,
        upstream: str,
        fingerprint: str,
    ) -> None:
        """Publish for each shard of ``questions`` in ``names`` which of its rows are kept.

        A question goes when a seed, or a question before it in the order of the shards, has the same identity.

        Args:
            client: The cluster.
            seeds: All shards of seeds.
            questions: All shards of questions up to this wave, in order.
            names: The shards of this wave.
            step_dir: Folder of the dedup step.
            upstream: Content hash of all that is compared.
            fingerprint: The step's.
        """
        compared = [*seeds, *questions]
        digests = self._read(client, compared)
        first = first_occurrence(np.concatenate(digests))
        ends = np.cumsum([len(part) for part in digests])
        futures = []
        for shard, start, end in zip(compared, [0, *ends[:-1]], ends, strict=True):
            if shard.step != questions[0].step or shard.name not in names:
                continue
            originals = [
                _place(compared, ends, int(original)) if original != position else None
                for position, original in zip(range(start, end), first[start:end], strict=True)
            ]
            futures.append(
                client.submit(
                    write_kept,
                    *(step_dir, shard, originals, upstream, fingerprint),
                    resources={"CPU": 1},
                    pure=False,
                )
            )
        client.gather(futures)

    def _read(self, client: Client, shards: Sequence[Shard]) -> list[Digests]:
        """Return the identities in each shard, read by the workers: 16 bytes a question."""
        missing = [shard for shard in shards if (shard.step, shard.content) not in self._digests]
        futures = client.map(shard_digests, [shard.path for shard in missing], resources={"CPU": 1}, pure=False)
        for shard, digests in zip(missing, client.gather(futures), strict=True):
            self._digests[shard.step, shard.content] = digests
        return [self._digests[shard.step, shard.content] for shard in shards]


def _place(shards: Sequence[Shard], ends: npt.NDArray[np.int64], position: int) -> str:
    """Return a reader's name for the row at ``position`` of all shards in a row."""
    i = int(np.searchsorted(ends, position, side="right"))
    return f"row {position - (int(ends[i]) - shards[i].counts.out)} of {shards[i].step}/{shards[i].name}"
