"""Rejects that the user wants asked again: how often each was set aside, in the run directory.

``retries/<step>/<shard>.json`` maps a row of the step to the number of times it is to be asked anew. The number is
part of its requests' identity, so the journal's reply to the last time is not used again, and part of what the shard
is made from, so the shard is made anew: after a crash too, without being told again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from curator_sdg.config import ASKING
from curator_sdg.errors import ConfigError, StoreError
from curator_sdg.identity import stable_hash
from curator_sdg.store import REJECTS, Shard, ancestors, publish_file, read_json, read_rows, writing

# Reasons that no reply of a teacher can mend: nothing was asked.
_NEVER_ASKED = ("no_prompt", "bad_record")
_ROUND = "round.json"  # what is being asked again; there until it is done


class Retries:
    """The rows to ask anew, of all steps; each shard's file is read once.

    Args:
        folder: ``retries`` in the run directory; need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._any = folder.is_dir()  # most runs have none
        self._read: dict[tuple[str, str], dict[str, int]] = {}

    def of(self, step: str, shard: str) -> dict[str, int]:
        """Return how often each row of a shard is to be asked anew; rows that are not named: never.

        Raises:
            StoreError: If the file is damaged.
        """
        if not self._any or step not in ASKING:
            return {}
        if (step, shard) not in self._read:
            counts: dict[str, int] = {}
            for name in reversed((shard, *ancestors(shard))):
                path = self._folder / step / f"{name}.json"
                found = read_json(path) or {}
                if not isinstance(found, dict) or not all(isinstance(count, int) for count in found.values()):
                    raise StoreError(f"{path}: does not map rows to numbers; move it away and run again")
                counts |= found
            self._read[step, shard] = counts
        return self._read[step, shard]

    def digest(self, step: str, shard: str) -> str | None:
        """Return a digest of what :meth:`of` returns; null where that is nothing."""
        return stable_hash(counts) if (counts := self.of(step, shard)) else None

    @property
    def open_round(self) -> list[str]:
        """The reasons of a request that was not done to its end; none where there is none."""
        found = read_json(self._folder / _ROUND)
        return list(found["reasons"]) if found else []

    def count(self, shards: Iterable[tuple[str, Shard]], reasons: Collection[str]) -> Counter[str]:
        """Return how many rejects of these shards have each of ``reasons``.

        Args:
            shards: Current shards, each with its step.
            reasons: As the user gave them.

        Raises:
            ConfigError: If there is none with one of them, or such rows were never asked about.
        """
        if never := sorted(set(reasons) & set(_NEVER_ASKED)):
            raise ConfigError(
                f"--retry-rejects {','.join(never)}: nothing was asked for such rows, so asking again cannot help"
            )
        there = sum((shard.counts.rejected for _, shard in shards), Counter[str]())
        if unknown := [reason for reason in reasons if not there[reason]]:
            known = ", ".join(f"{reason} {count}" for reason, count in there.most_common()) or "none at all"
            raise ConfigError(
                f"--retry-rejects {','.join(unknown)}: generate and enrich have no such rejects; there are {known}"
            )
        return Counter({reason: there[reason] for reason in reasons})

    def begin(self, shards: Iterable[tuple[str, Shard]], reasons: Collection[str]) -> None:
        """Set aside the rejects of these shards that have one of ``reasons``.

        What is set aside is written down as a whole first, so that a crash leaves nothing half done.

        Raises:
            StoreError: If it cannot be written.
        """
        counts: dict[str, dict[str, dict[str, int]]] = {step: {} for step in ASKING}
        for step, shard in shards:
            if set(reasons) & shard.counts.rejected.keys():
                rejects = read_rows(shard.path, REJECTS, columns=["record_id", "reason"]).to_pylist()
                rows = {reject["record_id"] for reject in rejects if reject["reason"] in reasons}
                before = self.of(step, shard.name)
                counts[step][shard.name] = {**before, **{row: before.get(row, 0) + 1 for row in rows}}
        publish_file(self._folder / _ROUND, json.dumps({"reasons": list(reasons), "counts": counts}, sort_keys=True))
        self.resume()

    def resume(self) -> None:
        """Write down what an open round sets aside; as often as needed."""
        found = read_json(self._folder / _ROUND)
        for step, shards in found["counts"].items() if found else ():
            for shard, counts in shards.items():
                publish_file(self._folder / step / f"{shard}.json", json.dumps(counts, sort_keys=True))
                self._read.pop((step, shard), None)
        self._any = self._folder.is_dir()

    def end(self) -> None:
        """Close the open round, if there is one: its rows have been asked about."""
        with writing(self._folder / _ROUND):
            (self._folder / _ROUND).unlink(missing_ok=True)
