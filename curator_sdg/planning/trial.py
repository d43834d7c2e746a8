"""What a pilot has to ask, given what the run's directory has already."""

from __future__ import annotations

from curator_sdg.config import Config
from curator_sdg.current import Current
from curator_sdg.rundir import RunDir, load_run
from curator_sdg.steps import dependencies, fingerprints


def begun(config: Config) -> Config | None:
    """Return the configuration of the run in ``run.dir`` as its last start had it; null where there is none."""
    run = RunDir(config.run.dir.absolute())
    return load_run(run.path) if run.config.is_file() else None


def seeds_to_pilot(config: Config, wanted: int) -> int | None:
    """Return how many of the first seeds have to be run for a pilot of so many; null where the run has them already.

    What a run has done is never cut short by a pilot: shards beyond a limit would be removed.
    """
    limit = wanted if config.run.limit is None else min(wanted, config.run.limit)
    before = begun(config)
    if before is None:
        return limit
    run = RunDir(config.run.dir.absolute())
    current = Current(run, before, fingerprints(dependencies(config)))
    if not any(current.get("generate", name) for name in current.shards("seeds")):
        return limit  # it has not begun, or with other settings: all of it is asked anew
    there = sum(shard.counts.out for shard in current.shards("seeds").values())
    through = [name for name in current.shards("seeds") if not current.missing("curate", name)]
    if before.run.limit is None or there > limit:
        return None
    return limit if there < limit or len(through) < len(current.shards("seeds")) else None
