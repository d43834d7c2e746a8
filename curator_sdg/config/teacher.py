"""The large language models that write and answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from curator_sdg.config.base import Obligation, Section, Share

# Fields of a request's body that the product sets itself, or that would change what a reply is.
_OURS = ("model", "messages", "n", "stream", "response_format", "structured_outputs", "stream_options")


class Price(Section):
    """What a million tokens cost, in whatever currency; null, not zero, where that is not known."""

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)
    cached: float | None = Field(None, ge=0, description="Prompt tokens from the prefix cache; null: as prompt.")


class VllmSection(Section):
    """Servers that a run starts on its own GPUs, and stops with itself."""

    python: Path | None = Field(
        None, description="The interpreter of the environment that has vLLM; null: the one that runs this."
    )
    gpus: tuple[int, ...] | None = Field(None, description="Which GPUs; null: all that are visible.")
    tensor_parallel: int = Field(1, ge=1, description="GPUs a server; there are as many servers as groups of these.")
    port: int = Field(8200, ge=1, le=65535, description="Of the first server; the others take those after it.")
    args: tuple[str, ...] = Field((), description="Further arguments of `vllm serve`: [--max-model-len, '8192'].")
    command: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Another server's command instead; {model}, {host}, {port}, {tensor_parallel} and {python} are "
        "filled in.",
    )
    start_timeout_s: float = Field(1800, gt=0, description="Until a server that was started must answer.")
    max_restarts: int = Field(3, ge=0, description="Times that each server is started again after it died.")


class TeacherSection(Section):
    """One large language model, where it is and how much may be asked of it."""

    engine: Literal["endpoint", "vllm", "recorded"] = "endpoint"
    model: str = Field(description="The model's name, as the endpoint knows it.")
    revision: str | None = Field(None, description="Part of a completion's identity; name it if it can change.")
    obligations: tuple[Obligation, ...] = Field(("unknown",), description="What the model's terms ask of its output.")
    base_urls: tuple[str, ...] = Field((), description="OpenAI-compatible, up to and including /v1.")
    endpoints_file: Path | None = Field(
        None,
        description="A file of further base URLs, one a line, that servers on other nodes write; read again every few "
        "seconds.",
    )
    api_key_env: str | None = Field(None, description="The environment variable that holds the key.")
    vllm: VllmSection = Field(VllmSection(), description="For engine: vllm.")
    recording: Path | None = Field(None, description="recorded: a journal file or folder to replay.")
    structured: Literal["json_schema", "structured_outputs", "json_object", "none"] = Field(
        "json_schema",
        description="How the reply's schema is asked for: response_format (json_schema, json_object), vLLM's own "
        "structured_outputs, or not at all.",
    )
    context_tokens: int | None = Field(
        None,
        ge=1,
        description="The model's context, prompt and reply: what is too long for it, by estimate, is not sent. Null "
        "leaves that to the endpoint.",
    )
    max_in_flight: int = Field(
        64, ge=1, description="Requests at once, over all endpoints and steps; each endpoint gets an equal share."
    )
    requests_per_minute: int | None = Field(None, ge=1, description="Requests, with every retry; null: any.")
    tokens_per_minute: int | None = Field(None, ge=1, description="Prompt and completion tokens; null: any.")
    samples_per_request: int = Field(
        1, ge=1, description="Samples with identical messages that one request may ask for (its `n`)."
    )
    open_shards: int = Field(8, ge=1, description="Shards that share the requests in flight.")
    timeout_s: float = Field(600, gt=0, description="For one request, from sending it to its last byte.")
    max_retries: int = Field(6, ge=0, description="Further tries after a transport failure; rate limits are none.")
    max_failure_share: Share = Field(
        0.5, description="Ends the run, resumable, when more of the latest requests than this have run out of retries."
    )
    patience_s: float = Field(
        900, gt=0, description="Ends the run, resumable, when no endpoint has given a reply for so long."
    )
    price: Price | None = Field(None, description="Per million tokens; null where it is not known: no bill then.")

    @field_validator("base_urls")
    @classmethod
    def _plain_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(plain_url(url) for url in value)

    @model_validator(mode="after")
    def _complete(self) -> TeacherSection:
        if self.api_key_env is not None and not self.api_key_env.isidentifier():
            raise ValueError("api_key_env must be the name of an environment variable, not the key itself")
        if self.engine == "endpoint" and not self.base_urls and self.endpoints_file is None:
            raise ValueError("engine: endpoint needs base_urls, or an endpoints_file")
        if self.engine == "vllm" and (self.base_urls or self.endpoints_file):
            raise ValueError("engine: vllm starts its own servers; for others leave base_urls with engine: endpoint")
        if self.engine == "recorded" and self.recording is None:
            raise ValueError("engine: recorded needs recording")
        return self


class Sampling(Section):
    """How the teacher samples, as OpenAI-compatible endpoints name it."""

    temperature: float | None = Field(
        0.7, ge=0, allow_inf_nan=False, description="Null leaves it to the endpoint, and so does top_p's."
    )
    top_p: float | None = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1, description="Of the reply, a reasoning model's thinking included.")
    stop: tuple[str, ...] = Field((), description="Texts before which the reply ends.")
    seed: int | None = Field(
        None, description="Asks the endpoint to draw reproducibly: every sample has a number that is drawn from this."
    )
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = Field(
        None, description="How much a reasoning model is to think, where it can be told."
    )
    reasoning_tokens: int | None = Field(
        None, ge=0, description="How many tokens it may think for; vLLM's thinking_token_budget."
    )
    extra: dict[str, Any] = Field(
        {},
        description="Further fields of the request's body: top_k, min_p, chat_template_kwargs, ...; with "
        "max_completion_tokens there, max_tokens is not sent.",
    )

    @field_validator("extra")
    @classmethod
    def _others(cls, value: dict[str, Any]) -> dict[str, Any]:
        ours = {*_OURS, *cls.model_fields} - {"extra", "reasoning_tokens"}
        if taken := sorted(ours & value.keys()):
            raise ValueError(f"extra must not hold {', '.join(taken)}: there is a key for that, or it is set for you")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"extra must be JSON, as it is sent: {error}") from None
        return value

    def body(self) -> dict[str, Any]:
        """Return the fields of a request's body, but for the sample's own seed; what is not set is left out."""
        fields = self.model_dump(exclude={"seed", "extra", "reasoning_tokens"}, exclude_none=True)
        if "max_completion_tokens" in self.extra:
            del fields["max_tokens"]
        if not self.stop:
            del fields["stop"]
        if self.reasoning_tokens is not None:
            fields["thinking_token_budget"] = self.reasoning_tokens
        return {**fields, **self.extra}


def plain_url(url: str) -> str:
    """Return a base URL without a slash at its end.

    Raises:
        ValueError: If it is no http(s) address, or holds credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http(s) address")
    if parts.username or parts.password or parts.query:
        raise ValueError("an address must hold no credentials; put the key into teacher.api_key_env")
    return url.rstrip("/")
