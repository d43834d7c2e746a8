"""What a teacher is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypedDict

from curator_sdg.identity import stable_hash


class Message(TypedDict):
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """One sample to ask for. Its ``key`` is everything that the reply depends on, and nothing else.

    Timeouts, retries and the endpoint's address do not change what a teacher would say, so they are no part of
    the key; ``sample`` is, so that several samples of one prompt stay apart.

    Attributes:
        record_id: The seed or question that is asked about.
        step: ``generate`` or ``enrich``.
        sample: Index of the sample among those of the same record and step.
        repair: How many correction turns came before; 0 for the first.
        messages: The chat so far.
        model: The model's name.
        revision: The model's revision, where the user names one.
        sampling: ``temperature``, ``top_p``, ``max_tokens``, ...
        schema: The JSON schema that the reply must hold to, or null for plain text.
        structured: How the schema is put to the teacher (``teacher.structured``).
        retry: How often a settled reply was set aside and asked anew at the user's wish.
    """

    record_id: str
    step: str
    sample: int
    messages: tuple[Message, ...]
    model: str
    revision: str | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    structured: str = "json_schema"
    repair: int = 0
    retry: int = 0

    @cached_property
    def key(self) -> str:
        """The identity of the reply: a hex digest, the same in every process."""
        return stable_hash(
            self.record_id,
            self.step,
            self.sample,
            self.repair,
            list(self.messages),
            self.model,
            self.revision,
            self.sampling,
            self.schema,
            self.structured,
            *([self.retry] if self.retry else ()),  # replies that were never set aside keep their key
        )


@dataclass(frozen=True)
class Completion:
    """A reply that settled.

    Attributes:
        key: The request's key.
        text: What the teacher wrote, as it came.
        finish_reason: ``stop``, ``length``, or what else the endpoint says.
        reasoning: The separate thinking of a reasoning model, where there is one.
        model: The model that the endpoint says answered.
        prompt_tokens: As the endpoint counts them; null where it does not.
        cached_tokens: Of these, read from its prefix cache.
        completion_tokens: As the endpoint counts them; null where it does not.
    """

    key: str
    text: str
    finish_reason: str
    reasoning: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def cut(self) -> bool:
        """Whether the reply ended for want of room."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Failure:
    """A request whose retries ran out in transport: nothing is known of the content, ask again later."""

    key: str
    reason: str  # timeout, rate_limit, server_error, connection, bad_response, unusable
    detail: str


@dataclass(frozen=True)
class Refusal:
    """A request that the server will not take, however often it is asked: too long, or not allowed.

    It says something about this record's content, so it is settled (a reject ``refused``), unlike a failure.
    """

    key: str
    status: int  # HTTP
    detail: str  # in the server's words


Outcome = Completion | Failure | Refusal


class Trouble(NamedTuple):
    """An answer that is none: the same request is to be sent again."""

    reason: str  # as of a Failure
    detail: str
    retry_after: float = 0.0  # seconds that the server asks to wait
    overload: bool = False  # the server says that it is asked too much


Answer = Sequence[Completion | Refusal] | Trouble
