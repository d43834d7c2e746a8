"""A process that asks, for tests that kill it: ``python -m tests.teacher.client URL RUN_DIR REQUESTS``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from curator_sdg.config import TeacherSection
from curator_sdg.epoch import Epoch
from curator_sdg.teacher import Completion, ShardJournal, acquire, release
from tests.teacher.requests import MODEL, make_requests

CAP = 8
SHARDS = 4


def ask_all(url: str, run_dir: Path, n: int) -> list[str]:
    """Ask ``n`` requests from one thread a shard, and return the texts of the replies."""
    epoch = Epoch.start(run_dir)
    dispatcher = acquire(TeacherSection(model=MODEL, base_urls=(url,), max_in_flight=CAP), epoch)

    def shard(number: int) -> list[str]:
        with ShardJournal(run_dir / "journal", "generate", f"shard-{number}", epoch.number) as journal:
            outcomes = dispatcher.complete(make_requests(n // SHARDS, first=number * n), journal)
        return [outcome.text for outcome in outcomes if isinstance(outcome, Completion)]

    try:
        with ThreadPoolExecutor(SHARDS) as threads:
            return [text for texts in threads.map(shard, range(SHARDS)) for text in texts]
    finally:
        release(dispatcher)


if __name__ == "__main__":
    ask_all(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
