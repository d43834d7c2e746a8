"""Our teacher as the client of NeMo Curator's own synthetic stages.

Curator's asynchronous clients belong to the event loop that first used them, and its stages start one a batch. Here
every query goes to this process's dispatcher, which has a loop of its own: retries, rates, adaptive concurrency and
several endpoints are as in a run, whatever loops come and go.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import threading
import weakref
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from nemo_curator.models.client.llm_client import AsyncLLMClient, ConversationFormatter, GenerationConfig

from curator_sdg.config import TeacherSection
from curator_sdg.errors import ConfigError, SdgError
from curator_sdg.identity import stable_hash
from curator_sdg.teacher.base import Completion, Failure, Message, Outcome, Request
from curator_sdg.teacher.dispatch.dispatcher import Dispatcher
from curator_sdg.teacher.journal.shard import ShardJournal
from curator_sdg.teacher.journal.usage import Usage
from curator_sdg.teacher.shared import acquire, release

_STEP = "curator"  # under which the journal keeps its replies
# What the request itself has, and what would make the answer another than a chat completion.
_OURS = ("model", "messages", "n", "stream", "stream_options")
# Arguments of OpenAI's Python client that are no part of a request's body.
_OF_OPENAI = {
    "timeout": "set teacher.timeout_s",
    "extra_headers": "put a key into the variable that teacher.api_key_env names",
    "extra_query": "put it into teacher.base_urls",
}


# What clients held that are no more. The garbage collector may run anywhere, also where a lock is held that releasing
# takes; so the next client does that, or the end of the process, which is named: a forked child inherits what the
# parent holds, and must leave it alone.
_forgotten: queue.SimpleQueue[tuple[int, Dispatcher, ShardJournal | None]] = queue.SimpleQueue()
_lock = threading.RLock()
_asked: weakref.WeakKeyDictionary[Dispatcher, Counter[str]] = weakref.WeakKeyDictionary()  # samples by query


class Unanswered(SdgError):  # noqa: N818 - reads as what it says
    """A query came back without a reply: its retries ran out, or the server will not take it."""


class Reply(str):
    """The text of a reply, and what came with it.

    Attributes:
        usage: Its tokens, as the endpoint counts them; of several samples of one request the prompt's are with the
            first.
        finish_reason: ``stop``, ``length``, or what else the endpoint says.
        reasoning: The separate thinking of a reasoning model; null where there is none.
    """

    __slots__ = ("finish_reason", "reasoning", "usage")

    usage: Usage
    finish_reason: str
    reasoning: str | None

    @classmethod
    def of(cls, completion: Completion) -> Self:
        """Return the reply that a completion holds."""
        reply = cls(completion.text)
        reply.usage = Usage.of(completion)
        reply.finish_reason = completion.finish_reason
        reply.reasoning = completion.reasoning
        return reply

    def __reduce__(self) -> tuple[Any, ...]:
        return _reply, (str(self), self.usage, self.finish_reason, self.reasoning)


def _reply(text: str, usage: Usage, finish_reason: str, reasoning: str | None) -> Reply:
    reply = Reply(text)
    reply.usage, reply.finish_reason, reply.reasoning = usage, finish_reason, reasoning
    return reply


class TeacherClient(AsyncLLMClient):
    """Answers the queries of Curator's synthetic stages with a teacher of ours.

    It survives any number of event loops, pickles and forks, so stages can be sent to workers; all clients of a
    process that have the same teacher and journal share one dispatcher. Curator's own retries, which go by the words
    of an error, are not used.

    With a journal, every reply is on disk before it is used, and a query that an earlier process had answered is not
    asked again: of equal queries, the first in a process gets the first reply, the second the second, and so on. The
    journal is read whole by ``setup``.

    Example:
        ``WikipediaParaphrasingStage(client=TeacherClient(TeacherSection(model="my-model", base_urls=[url])),
        model_name="my-model", input_field="text", output_field="text")``

    Args:
        teacher: The teacher, as a configuration's section ``teacher`` describes it.
        journal: Folder of the replies; null keeps none.
    """

    def __init__(self, teacher: TeacherSection, journal: Path | str | None = None) -> None:
        super().__init__(max_concurrent_requests=teacher.max_in_flight, max_retries=0)
        self.teacher = teacher
        self.journal = None if journal is None else Path(journal)
        self._dispatcher: Dispatcher | None = None
        self._replies: ShardJournal | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._process = os.getpid()  # that the dispatcher's thread runs in

    def setup(self) -> None:
        """Join this process's dispatcher; the first query does it, too.

        Raises:
            StoreError: If the journal cannot be read.
        """
        with _lock:  # stages of several threads may share a client
            process = os.getpid()
            # One that has stopped, for an error, is of no use any more, nor is one whose thread is in the parent.
            if self._dispatcher is not None and not self._dispatcher.stopped and self._process == process:
                return
            self.close()
            replies = None if self.journal is None else ShardJournal(self.journal, _STEP, "all", 0)
            dispatcher = acquire(self.teacher, journal=self.journal)
            # Curator's stages never say that they are done with a client.
            self._finalizer = weakref.finalize(self, _forgotten.put, (process, dispatcher, replies))
            self._dispatcher, self._replies, self._process = dispatcher, replies, process

    def close(self) -> None:
        """Let go of the dispatcher and the journal; a later query takes them up again."""
        with _lock:
            if self._finalizer is not None:
                self._finalizer()
            self._dispatcher = self._replies = self._finalizer = None
            _let_go()

    async def query_model(
        self,
        *,
        messages: Iterable[Message],
        model: str,
        conversation_formatter: ConversationFormatter | None = None,
        generation_config: GenerationConfig | dict[str, Any] | None = None,
    ) -> list[str]:
        """Return ``generation_config.n`` replies to a chat, each a :class:`Reply`.

        Args:
            messages: The chat, sent as it is.
            model: Must be the teacher's.
            conversation_formatter: Must be null: the endpoint has its model's own template.
            generation_config: How to sample; what is null is left to the endpoint.

        Raises:
            ConfigError: If it asks for what a chat endpoint, or this client, cannot do.
            Unanswered: If retries ran out, or the server will not take it.
            TeacherError: If the teacher cannot be used at all.
        """
        if conversation_formatter is not None:
            raise ConfigError("conversation_formatter: a chat endpoint applies its model's own template; leave it out")
        if model != self.teacher.model:
            raise ConfigError(f"model_name is {model!r}, but the client's teacher is {self.teacher.model!r}")
        if generation_config is None:
            generation_config = GenerationConfig()
        elif isinstance(generation_config, dict):
            generation_config = GenerationConfig(**generation_config)
        self.setup()
        assert self._dispatcher is not None
        requests = self._requests(tuple(messages), generation_config)
        outcomes = await asyncio.wrap_future(self._dispatcher.submit(requests, self._replies))
        return [Reply.of(_completion(outcome)) for outcome in outcomes]

    async def _query_model_impl(self, **query: Any) -> list[str]:
        """Do as :meth:`query_model`, which Curator's base class would call this from."""
        return await self.query_model(**query)

    def _requests(self, messages: tuple[Message, ...], config: GenerationConfig) -> list[Request]:
        sampling, n = _sampling(config), config.n or 1
        record_id = stable_hash(list(messages))
        first = self._number(stable_hash(record_id, sampling), n)
        together = n <= self.teacher.samples_per_request
        return [
            Request(
                record_id=record_id,
                step=_STEP,
                sample=first + sample,
                messages=messages,
                model=self.teacher.model,
                revision=self.teacher.revision,
                sampling=sampling if together else _reseeded(sampling, sample),
            )
            for sample in range(n)
        ]

    def _number(self, query: str, n: int) -> int:
        """Return how many samples this process has asked for by equal queries: each is to have a reply of its own."""
        assert self._dispatcher is not None
        with _lock:
            asked = _asked.setdefault(self._dispatcher, Counter())
            asked[query] += n
            return asked[query] - n

    def __getstate__(self) -> dict[str, Any]:
        return {"teacher": self.teacher, "journal": self.journal}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _let_go() -> None:
    """Release what clients held that are closed or forgotten."""
    with contextlib.suppress(queue.Empty):
        while True:
            process, dispatcher, replies = _forgotten.get_nowait()
            if process != os.getpid():
                continue
            release(dispatcher)
            if replies is not None:
                replies.close()


atexit.register(_let_go)


def _completion(outcome: Outcome) -> Completion:
    """Return a completion.

    Raises:
        Unanswered: If it is none.
    """
    if isinstance(outcome, Completion):
        return outcome
    if isinstance(outcome, Failure):
        raise Unanswered(f"a query was not answered, retries included: {outcome.reason}: {outcome.detail}")
    raise Unanswered(f"the server will not take a query: {outcome.detail}")


def _sampling(config: GenerationConfig) -> dict[str, Any]:
    """Return the fields of a request's body that a configuration of Curator's stands for.

    Raises:
        ConfigError: If it asks for a stream, or has extra arguments that are none of a request's body.
    """
    if config.stream:
        raise ConfigError("generation_config.stream: replies come whole; leave it false")
    named = ("max_tokens", "seed", "stop", "temperature", "top_k", "top_p")
    body = {name: value for name in named if (value := getattr(config, name)) is not None}
    extra = dict(config.extra_kwargs or {})
    extra |= extra.pop("extra_body", None) or {}
    if ours := sorted(extra.keys() & set(_OURS)):
        raise ConfigError(f"generation_config.extra_kwargs: must not hold {', '.join(ours)}")
    for name, instead in _OF_OPENAI.items():
        if name in extra:
            raise ConfigError(f"generation_config.extra_kwargs: {name} is no field of a request; {instead}")
    return body | extra


def _reseeded(sampling: dict[str, Any], sample: int) -> dict[str, Any]:
    """Return the sampling of one of several samples that are asked for one by one: with one seed all were the same."""
    return sampling if sampling.get("seed") is None else {**sampling, "seed": sampling["seed"] + sample}
