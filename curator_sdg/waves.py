"""Generating, deduplicating and answering, all waves at once: the endpoint stays full from the first to the last.

A wave is a fixed slice of the seeds. While the questions of one are compared and answered, those of the next are
written. What goes first where both could be asked is fixed: generate 0, generate 1, enrich 0, generate 2, enrich 1,
and so on. So a wave of questions lies ready when answers run out; more are only written while the endpoint would
otherwise idle.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nemo_curator.tasks import Task

from curator_sdg.backend import Flow, Options, Session
from curator_sdg.curation.dedup.exact import ExactDedup, write_kept
from curator_sdg.estimate import Estimate
from curator_sdg.generation.asking import TOPIC
from curator_sdg.ledger import Counts
from curator_sdg.pace import Figures, Teachers
from curator_sdg.store import Shard, read_shard

if TYPE_CHECKING:
    from curator_sdg.workflow import Run

# Curator warns of every batch without rows, which is normal here: the account has them all.
LOG_LEVEL = "ERROR"


class Waves:
    """Does what is left of the steps from generate to enrich.

    Args:
        run: The run; its cluster is started when there is something to do.
        steps: Which of them to do; where ``generate`` is left out, waves without all their questions are.
    """

    def __init__(self, run: Run, steps: Collection[str] = ("generate", "dedup", "enrich")) -> None:
        self._run = run
        self._steps = steps
        self._current = run.look()
        self._waves = self._current.waves
        self._wave_of = {name: at for at, wave in enumerate(self._waves) for name in wave}
        self._to_generate = [{name for name in wave if self._lacks("generate", name)} for wave in self._waves]
        self._shown: dict[str, dict[str, Counts]] = {}
        self._next_dedup = 0
        self._comparing = False
        self._dedup: ExactDedup | None = None
        self._teachers = Teachers()
        self._compared = 0  # waves that ``_dedup`` knows

    def execute(self) -> None:
        """Do it.

        Raises:
            AskingEnded: If nothing more may be asked; everything paid for is in the journal.
            SdgError: One clear message, for everything that the user can mend.
        """
        self._begin()
        try:
            if any(self._lacks(step, name) for step in self._steps for name in self._wave_of):
                self._run_session()
        finally:
            for step in self._steps:
                self._run.progress.end(step)

    def _run_session(self) -> None:
        self._estimate = self._estimated()
        with Session(self._run.client, Options(log_level=LOG_LEVEL)) as session:
            self._session = session
            session.listen(TOPIC, self._told)
            self._flows = {step: self._open(step) for step in ("generate", "enrich") if step in self._steps}
            if generate := self._flows.get("generate"):
                for at, names in enumerate(self._to_generate):
                    for name in sorted(names):
                        generate.offer(self._run.task("generate", name, self._current), rank=2 * at - 1)
                generate.close()
            self._go_on()
            session.run()

    def _begin(self) -> None:
        for step in self._steps:
            done = {name: shard.counts for name, shard in self._current.shards(step).items()}
            self._shown[step] = {name: counts for name, counts in done.items() if not counts.pending}
            self._run.progress.begin(step, len(self._wave_of), list(self._shown[step].values()))

    def _published(self, step: str, shard: Shard) -> None:
        """Take note of a new shard, which may stand instead of one that was thought to be done."""
        self._current.add(step, shard)
        before = self._shown[step].get(shard.name)
        self._shown[step][shard.name] = shard.counts
        self._run.progress.advance(step, shard.counts, instead=before)

    def _lacks(self, step: str, name: str) -> bool:
        """Whether a shard has to be made before anything can be made from it."""
        if step in self._steps:
            return self._current.missing(step, name)
        return self._current.get(step, name) is None

    def _open(self, step: str) -> Flow:
        def published(_: tuple[int, ...], tasks: Sequence[Task[Any]]) -> None:
            for task in tasks:
                shard = read_shard(self._run.dir.step(step) / task._metadata["shard"])
                assert shard is not None  # it was published
                self._published(step, shard)
                if step == "generate":
                    self._to_generate[self._wave_of[shard.name]].discard(shard.name)
                    self._go_on()

        return self._session.open(self._run.stages(step), published)

    def _go_on(self) -> None:
        """Compare the next waves, in order, as far as their questions are there; then have them answered."""
        while "dedup" in self._steps and not self._comparing and self._next_dedup < len(self._waves):
            at = self._next_dedup
            if self._to_generate[at]:
                return
            missing = [name for name in self._waves[at] if self._current.missing("dedup", name)]
            if missing:
                self._compare(at, missing)
            else:
                self._compared_up_to(at)

    def _compared_up_to(self, at: int) -> None:
        self._next_dedup = at + 1
        if enrich := self._flows.get("enrich"):
            for name in self._waves[at]:
                missing = self._current.missing("enrich", name)
                kept = self._current.get("dedup", name)
                assert kept is not None  # it was compared
                self._estimate.compared(name, kept.counts.out, asks=missing)
                if (
                    (answered := self._current.get("enrich", name))
                    and not missing
                    and name not in self._shown["enrich"]
                ):
                    self._published("enrich", answered)  # it was not known before that the same questions are kept
                if missing:
                    enrich.offer(self._run.task("enrich", name, self._current), rank=2 * at + 2)
            if self._next_dedup == len(self._waves):
                enrich.close()

    def _compare(self, at: int, missing: Sequence[str]) -> None:
        """Publish which questions of a wave are kept, beside everything else."""
        current, run = self._current, self._run
        seeds = list(current.shards("collect").values())
        unread = [[self._question(name) for name in wave] for wave in self._waves[self._compared : at + 1]]
        target, fingerprint = run.dir.step("dedup"), current.fingerprint("dedup")
        upstream = {name: current.upstream("dedup", name) for name in missing}

        def work() -> list[Shard]:
            dedup = self._dedup = self._dedup or ExactDedup(seeds)
            for wave in unread:
                originals = dedup.add(wave)
            futures = [
                run.client.submit(
                    write_kept,
                    *(target, shard, found, upstream[shard.name], fingerprint, run.epoch),
                    resources={"CPU": 1},
                    pure=False,
                )
                for shard, found in zip(unread[-1], originals, strict=True)
                if shard.name in missing
            ]
            return list(run.client.gather(futures))

        def then(shards: list[Shard]) -> None:
            self._comparing = False
            for shard in shards:
                self._published("dedup", shard)
            self._compared_up_to(at)
            self._go_on()

        self._comparing = True
        self._compared = at + 1
        self._session.aside(work, then)

    def _question(self, name: str) -> Shard:
        shard = self._current.get("generate", name)
        assert shard is not None  # its wave is complete
        return shard

    def _estimated(self) -> Estimate:
        """Return what is to be asked, as far as that can be known before."""
        config = self._run.config
        planned = {name: self._current.asked(name) * config.generate.questions_per_seed for name in self._wave_of}
        generate = {name: planned[name] for names in self._to_generate for name in names}
        enriches = "enrich" in self._steps
        return Estimate(
            generate if "generate" in self._steps else {}, planned if enriches else {}, config.enrich.samples
        )

    def _told(self, news: dict[str, Any]) -> None:
        told = Figures(**{field.name: news[field.name] for field in fields(Figures)})
        figures = self._teachers.add(news["teacher"], told)
        self._estimate.done(figures.asked + figures.journalled)
        self._run.progress.teacher(figures)
        self._run.progress.expect(self._estimate.remaining)
