"""What the two stages that ask a teacher have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from loguru import logger
from nemo_curator.backends.base import WorkerMetadata
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.resources import Resources
from nemo_curator.tasks import DocumentBatch

from curator_sdg.backend.worker import announcer
from curator_sdg.config import Sampling, TeacherSection
from curator_sdg.epoch import Epoch
from curator_sdg.generation.repair import Asked, Corrections, ask_with_repairs
from curator_sdg.identity import seeded_index, stable_hash
from curator_sdg.ledger import Account, account_of
from curator_sdg.records import Record, to_records, to_table
from curator_sdg.retries import Retries
from curator_sdg.teacher import ShardJournal, acquire, release
from curator_sdg.teacher.base import Completion, Message, Outcome, Request
from curator_sdg.teacher.budget import Budget
from curator_sdg.teacher.dispatch.report import Status
from curator_sdg.teacher.tokens import estimate_messages

TOPIC = "curator-sdg-teacher"  # under which a teacher worker announces its figures


@dataclass
class AskTeacher(ProcessingStage[DocumentBatch, DocumentBatch]):
    """Asks about every record of a batch at once, and settles each record on all of its replies.

    On the Dask backend such a stage runs in the teacher worker, where all batches that are open at a time share one
    dispatcher; on any other backend each worker has its own, and limits are per worker.

    Attributes:
        teacher: The teacher, as the configuration describes it.
        seed: The run's seed, for every drawn choice.
        journal: Folder of the journal; null asks without one, and nothing survives a crash.
        epoch: The start of the run that this stage belongs to; null outside of a run.
        budget: When to ask no more; null asks on.
        retries: Folder that names the rows whose last reply is set aside; null where there is none.
        place: The Dask resource of the workers that ask this teacher; of several, each has its own.
    """

    teacher: TeacherSection
    seed: int = 0
    journal: Path | None = None
    epoch: Epoch | None = None
    budget: Budget | None = None
    retries: Path | None = None
    place: str = "TEACHER"
    _retried: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _corrections: Corrections = field(default_factory=Corrections, init=False, repr=False)

    # It waits for a network: on Ray a whole core for each would leave none for the stages beside it.
    resources = Resources(cpus=0.1)
    step: ClassVar[str]
    record_schema: ClassVar[pa.Schema]
    result_schema: ClassVar[pa.Schema]

    @property
    def dask_resources(self) -> dict[str, float]:
        """What a running call takes of its worker on the Dask backend."""
        return {self.place: 1}

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch must have."""
        return ["data"], list(self.required)

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what a batch then has."""
        return ["data"], self.result_schema.names

    def setup(self, worker_metadata: WorkerMetadata | None = None) -> None:  # noqa: ARG002
        """Join this process's dispatcher for the teacher, or start it."""
        announce, place = announcer(TOPIC), self.place

        def report(progress: Status) -> None:
            if announce is not None:
                figures = progress._asdict()
                del figures["spent"]
                announce({**figures, "teacher": place})

        self._dispatcher = acquire(
            self.teacher, self.epoch, budget=self.budget, journal=self.journal, report=report if announce else None
        )

    def cancel(self) -> None:
        """Ask nothing more, as the run has failed; may be called from any thread."""
        if (dispatcher := self.__dict__.get("_dispatcher")) is not None:
            dispatcher.close()

    def teardown(self) -> None:
        """Leave the dispatcher; the last one out closes it."""
        if (dispatcher := self.__dict__.pop("_dispatcher", None)) is not None:
            release(dispatcher)

    def process(self, task: DocumentBatch) -> DocumentBatch:
        """Return the batch of what came of its records; what did not is in the task's account."""
        account = account_of(task)
        records = to_records(task.to_pyarrow(), self.record_schema)
        self._retried = Retries(self.retries).of(self.step, account.shard) if self.retries else {}
        sound = self._sound(records, account)
        asked = [(record, self._short(record, list(self.requests(record, account)), account)) for record in sound]
        answers = iter(self._complete([r for _, requests in asked for r in requests], records, account))
        results: list[Record] = []
        for record, requests in asked:
            results.extend(self.settle(record, [next(answers) for _ in requests], account))
        if account.pending and not account.shard:  # in a run the ledger says so
            logger.warning(
                f"{self.name}: {len(account.pending)} of {len(records)} records could not be asked about "
                f"({account.pending[0]['detail']}); they are in the account of the task, not in the batch"
            )
        return DocumentBatch(
            dataset_name=task.dataset_name,
            data=to_table(results, self.result_schema),
            _metadata=task._metadata,
            _stage_perf=task._stage_perf,
        )

    def _sound(self, records: Iterable[Record], account: Account) -> Iterator[Record]:
        """Yield the records that can be asked about; one without what its prompt needs is a ``bad_record``."""
        for record in records:
            missing = [name for name in self.required if record[name] is None]
            if record["answer_format"] in ("option", "label", "boolean") and len(record["options"] or ()) < 2:
                missing.append("options (at least two)")
            if not missing:
                yield record
                continue
            detail = f"it lacks {', '.join(missing)}"
            for sample in range(self.fan_out):
                key = self.slot(record[self.record_schema.names[0]], sample)
                account.reject(record, stage=self.name, reason="bad_record", detail=detail, key=key)

    def _short(self, record: Record, requests: list[Request], account: Account) -> list[Request]:
        """Return the requests; none, with ``too_long`` rejects, where one is more than the teacher can read."""
        limit = self.teacher.context_tokens
        if limit is None or not requests:
            return requests
        reply = self.sampling.max_tokens
        prompt = max(estimate_messages(request.messages) for request in requests)
        if prompt + reply <= limit:
            return requests
        detail = f"about {prompt:,} tokens of prompt and {reply:,} of reply; teacher.context_tokens is {limit:,}"
        for key in dict.fromkeys(self.slot(request.record_id, request.sample) for request in requests):
            account.reject(record, stage=self.name, reason="too_long", detail=detail, key=key)
        return []

    def _complete(self, requests: Sequence[Request], records: Sequence[Record], account: Account) -> list[Asked]:
        if self.journal is None:
            return self._ask(requests, None)
        # Outside of a run a batch has no shard; its content then names its part of the journal.
        shard = account.shard or stable_hash([record[self.record_schema.names[0]] for record in records])
        number = self.epoch.number if self.epoch else 0
        with ShardJournal(self.journal, self.step, shard, number) as journal:
            answers = self._ask(requests, journal)
            journal.seal()
            return answers

    def _ask(self, requests: Sequence[Request], journal: ShardJournal | None) -> list[Asked]:
        def ask(turn: Sequence[Request]) -> Sequence[Outcome]:
            return self._dispatcher.complete(turn, journal)

        return ask_with_repairs(ask, requests, self.repair_attempts, self._corrections, self._fits)

    def _fits(self, messages: Sequence[Message]) -> bool:
        """Whether a prompt of these messages leaves room for a reply."""
        limit = self.teacher.context_tokens
        return limit is None or estimate_messages(messages) + self.sampling.max_tokens <= limit

    def request(
        self,
        record_id: str,
        sample: int,
        messages: tuple[Message, ...],
        schema: dict[str, Any],
    ) -> Request:
        """Return one request of this step to its teacher."""
        sampling = self.sampling.body()
        if self.sampling.seed is not None:  # one for all would make identical requests give identical replies
            sampling["seed"] = seeded_index(2**31, self.sampling.seed, self.step, record_id, sample)
        return Request(
            record_id=record_id,
            step=self.step,
            sample=sample,
            messages=messages,
            model=self.teacher.model,
            revision=self.teacher.revision,
            sampling=sampling,
            schema=schema,
            structured=self.teacher.structured,
            retry=self._retried.get(self.slot(record_id, sample), 0),
        )

    def slot(self, record_id: str, sample: int) -> str:  # noqa: ARG002 - a step with a fan-out uses it
        """Return the name of the row that a sample of a record is about, as its rejects call it."""
        return record_id

    @property
    def fan_out(self) -> int:
        """Results that are planned for each record."""
        return 1

    @property
    @abstractmethod
    def sampling(self) -> Sampling:
        """How this step samples."""

    @property
    @abstractmethod
    def repair_attempts(self) -> int:
        """Turns in which a reply that does not validate may be put right."""

    @property
    @abstractmethod
    def required(self) -> Iterable[str]:
        """Columns without which a record cannot be asked about."""

    @abstractmethod
    def requests(self, record: Record, account: Account) -> Iterable[Request]:
        """Return the requests for one record; none, with a reject in the account, where it cannot be asked."""

    @abstractmethod
    def settle(self, record: Record, answers: Sequence[Asked], account: Account) -> Iterable[Record]:
        """Return what came of one record; every request of it is a result, a reject or pending."""


def token_counts(completions: Iterable[Completion]) -> dict[str, int | None]:
    """Sum what the endpoint counted; a figure that it withheld for one reply is null for all."""
    replies = list(completions)

    def total(name: str) -> int | None:
        counts = [getattr(reply, name) for reply in replies]
        return None if None in counts else sum(counts)

    return {
        "prompt": total("prompt_tokens"),
        "cached": total("cached_tokens"),
        "completion": total("completion_tokens"),
        "requests": len(replies),
    }
