"""Which shards of a run need not be made again.

A shard is current when it was made under the fingerprint that its step has now, from what lies upstream now. All
others are stale, whatever their figures say: made from another configuration, or from other input.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from curator_sdg.config import Config
from curator_sdg.costs import Tariff, bill, spent_of
from curator_sdg.identity import stable_hash
from curator_sdg.ledger import Ledger, StepAccount, step_account
from curator_sdg.quota import Packed, Quota, Standing, first_rows, rows_by_task, rows_in_all
from curator_sdg.retries import Retries
from curator_sdg.rundir import INPUTS, STEPS, RunDir, fan_out, waves
from curator_sdg.seeds.repeats import task_of
from curator_sdg.store import Shard, list_shards, read_json, shard_name
from curator_sdg.teacher.journal.usage import journal_usage


class Current:
    """The current shards of a run: what lies on disk when a step is first looked at, and what is added since.

    Args:
        run: The run directory.
        config: The run's configuration.
        fingerprints: Each step's.
    """

    def __init__(self, run: RunDir, config: Config, fingerprints: Mapping[str, str]) -> None:
        self._run, self._config, self._fingerprints = run, config, fingerprints
        self._found: dict[str, dict[str, Shard]] = {}
        self._collected: str | None = None
        self._cut: dict[str, Shard] | None = None
        self._names: list[str] = []  # of the shards of seeds, in order
        self._place: dict[str, int] = {}  # of each among them
        self._compared: list[str] = []  # by place: digest of all that a shard is deduplicated against, and of itself
        self._retries = Retries(run.retries)
        self._first: dict[str, dict[str, Packed]] = {}  # by step and shard; see first()

    def found(self, step: str) -> dict[str, Shard]:
        """Return all published shards of a step by name, current or not, in order."""
        if step not in self._found:
            self._found[step] = list_shards(self._run.step(step))
        return self._found[step]

    def shards(self, step: str) -> dict[str, Shard]:
        """Return the current shards of a step by name, in order."""
        return {name: shard for name in sorted(self.found(step)) if (shard := self.get(step, name)) is not None}

    def get(self, step: str, name: str) -> Shard | None:
        """Return a shard of a step, or null where it is not there or not current."""
        if step == "seeds":
            return self._seeds().get(name)
        shard = self.found(step).get(name)
        if shard is None or shard.fingerprint != self.fingerprint(step):
            return None
        # What was collected depends on files that are not ours; the run itself compares those.
        return shard if step == "collect" or shard.upstream == self.upstream(step, name) else None

    def missing(self, step: str, name: str) -> bool:
        """Whether a shard has to be made (again): it is not current, or has rows pending."""
        shard = self.get(step, name)
        return shard is None or shard.counts.pending > 0

    def add(self, step: str, shard: Shard) -> None:
        """Take note of a shard that was just published."""
        self.found(step)[shard.name] = shard
        self._changed(step, shard.name)

    @property
    def waves(self) -> list[list[str]]:
        """The names of each wave's shards, in order."""
        self._order()
        return waves(self._names, self._config)

    def fingerprint(self, step: str) -> str:
        """Return the fingerprint that a step's shards must have."""
        return self._fingerprints.get(step, "")

    @property
    def collected(self) -> str:
        """Digest of all seeds that were collected."""
        if self._collected is None:
            self._collected = stable_hash([shard.content for shard in self.shards("collect").values()])
        return self._collected

    def upstream(self, step: str, name: str) -> str | None:
        """Return the content hash of what a shard is made from; null while some of that is missing."""
        if step == "dedup":
            return self._compared_with(name)
        inputs = [self.get(source, name) for source in INPUTS[step]]
        contents = [shard.content for shard in inputs if shard is not None]
        if len(contents) < len(inputs):
            return None
        more = [*filter(None, [self._retries.digest(step, name)]), *filter(None, [self.first(step, name)])]
        return stable_hash(contents, *more)

    def first(self, step: str, name: str) -> dict[str, int]:
        """Return the tasks of which a step takes only the first so many rows of a shard; see :mod:`.quota`."""
        wanted = self._config.run.accepted_per_task
        if wanted is None or step not in ("generate", "package"):
            return {}
        if step not in self._first:
            seeds = self.shards("seeds")
            inputs = [self.get(INPUTS[step][0], name) for name in seeds]
            rows = (rows_by_task(shard) if shard is not None else {} for shard in inputs)
            allowed = self.quota(wanted).asked(rows_in_all(seeds.values())) if step == "generate" else wanted
            self._first[step] = dict(zip(seeds, map(Packed.of, first_rows(rows, allowed)), strict=True))
        first = self._first[step].get(name)
        return {} if first is None else first.unpacked()

    def quota(self, wanted: int) -> Quota:
        """Return how far each task's seeds are asked about, for ``wanted`` questions of each."""
        return Quota(self._run.quota, wanted, self._config.generate.questions_per_seed, self.fingerprint("enrich"))

    def asked(self, name: str) -> int:
        """Return how many seeds of a shard are asked about."""
        seeds = self._seeds()[name]
        first = self.first("generate", name)
        return seeds.counts.out - sum(rows_by_task(seeds)[task] - count for task, count in first.items())

    def short(self) -> dict[str, dict[str, int]]:
        """Return the tasks that have fewer accepted questions than the configuration wants of each."""
        wanted = self._config.run.accepted_per_task
        if wanted is None:
            return {}
        collected = map(task_of, self.shards("collect"))
        none = {task: Standing(0, 0, 0) for task in (*collected, *(read_json(self._run.failed_tasks) or {}))}
        at = {**none, **self.standings()}
        return {task: at[task]._asdict() for task in sorted(at) if at[task].accepted < wanted}

    def standings(self) -> dict[str, Standing]:
        """Return where each task is on the way to its number of accepted questions."""
        seeds, accepted = (rows_in_all(self.shards(step).values()) for step in ("seeds", "curate"))
        wanted = self._config.run.accepted_per_task
        asked = self.quota(wanted).asked(seeds) if wanted is not None else seeds
        return {task: Standing(n, asked[task], accepted[task]) for task, n in sorted(seeds.items())}

    def _compared_with(self, name: str) -> str | None:
        """Return a digest of all seeds and of the questions up to and with those of a shard.

        Each shard's is made from the one before, so over a run this takes time in proportion to its shards.
        """
        self._order()
        if name not in self._place:
            return None
        while len(self._compared) <= self._place[name]:
            shard = self.get("generate", self._names[len(self._compared)])
            if shard is None:
                return None
            before = self._compared[-1] if self._compared else self.collected
            self._compared.append(stable_hash(before, shard.content))
        return self._compared[self._place[name]]

    def as_collected(self, shard: Shard) -> bool:
        """Whether a shard of seeds holds all of its range, of the seeds that are collected now."""
        return shard.fingerprint == self.fingerprint("seeds") and shard.upstream == self.collected

    def _seeds(self) -> dict[str, Shard]:
        """Return the shards of seeds up to the limit; the one where it falls is made for just that limit."""
        if self._cut is None:
            self._cut = {}
            left = self._config.run.limit
            last = stable_hash(self.collected, left)
            cut = read_json(self._run.cut)
            names = [shard_name(at, cut["shards"]) for at in range(cut["shards"])] if cut else []
            for name in names:
                shard = self.found("seeds").get(name)
                if shard is not None and self.as_collected(shard) and (left is None or shard.counts.out < left):
                    self._cut[name] = shard
                    left = left if left is None else left - shard.counts.out
                elif left is not None:  # here it falls, or nobody knows where
                    if shard is not None and shard.upstream == last and shard.fingerprint == self.fingerprint("seeds"):
                        self._cut[name] = shard
                    break
        return self._cut

    def _order(self) -> None:
        """Find the order of the shards, once."""
        if not self._names:
            self._names = list(self.shards("seeds"))
            self._place = {name: at for at, name in enumerate(self._names)}

    def _changed(self, step: str, name: str) -> None:
        if step != "package":
            self._first.pop("package", None)
        if step in ("collect", "seeds"):
            self._cut = self._collected = None
            self._first.clear()
            self._names, self._place, self._compared = [], {}, []
        elif step == "generate":
            del self._compared[self._place.get(name, 0) :]


def compute_ledger(config: Config, until: str | None = None) -> Ledger:
    """Return the accounts of a run from its current shards alone.

    Args:
        config: The run's configuration.
        until: The last step that was wanted; null: as the run's last start had it. Rows that have not come so far are
            pending.
    """
    run = RunDir(config.run.dir.absolute())
    document = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    current = Current(run, config, document["fingerprints"])
    until = until or document.get("until")
    wanted = STEPS[: STEPS.index(until) + 1] if until else ()
    accounts: list[StepAccount] = []
    expected: int | None = None
    every: list[str] = []
    for step in STEPS:
        shards = current.shards(step)
        if (until and step not in wanted) or not (shards or (accounts and step in wanted)):
            break
        counts = {name: shard.counts for name, shard in shards.items()}
        incoming = None if expected is None else expected * fan_out(step, config)
        if step == "seeds":
            cut = read_json(run.cut)  # seeds that are not cut yet are pending, too
            every = [shard_name(at, cut["shards"]) for at in range(cut["shards"])] if cut else ["not cut"]
        account = step_account(step, counts, incoming, every=every)
        if step == "seeds" and not account.counts.pending:
            every = list(shards)  # the limit leaves the others out
        accounts.append(account)
        expected = account.counts.out
    spent = {
        step: {name: spent_of(shard) for name, shard in current.shards(step).items()}
        for step in STEPS[STEPS.index("generate") :]
    }
    usage = bill(journal_usage(run.journal), spent, Tariff.of(config))
    short = current.short() if "curate" in [account.step for account in accounts] else {}
    return Ledger(accounts, read_json(run.failed_tasks) or {}, usage, short)
