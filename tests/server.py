"""The test endpoint's server: what it replies, what goes wrong, and what it counts. See :mod:`tests.endpoint`."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.admission import Admission
from tests.faults import TRANSPORT, error
from tests.filler import Draw, fill, wanted_schema

Maker = Callable[[dict[str, Any], Draw], str | None]

_NORMAL = statistics.NormalDist()
_CONTENT = ("refused", "garbage", "cut")


@dataclass(frozen=True)
class Options:
    """How the server behaves; shares are of requests (content) or of tries (transport)."""

    port: int = 0  # 0: a free one
    model: str = "test-model"
    key: str = ""  # asked for as a bearer key, unless empty
    maker: str = ""  # package.module:function
    latency_s: float = 0.0  # median
    sigma: float = 0.0  # of the lognormal latency
    reasoning: bool = False  # send reasoning_content
    think: bool = False  # begin the content with <think>...</think>, as a server does that does not part them
    usage: str = "full"  # full, plain (no cached tokens) or none
    most_choices: int = 0  # of a request's n; 0: as many as it asks for
    reply_type: str = "application/json"  # the Content-Type of a reply
    no_models: bool = False  # /models answers 404
    lean: bool = False  # keep no times: for runs of many requests
    # how much it takes on, see Admission
    slots: int = 0
    capacity: int = 0
    requests_per_minute: int = 0
    # transport faults, see tests.faults
    rate_limit: float = 0.0  # 429
    rate_limit_after: float = 0.0  # 429 with Retry-After
    rate_limit_date: float = 0.0  # 429 with a Retry-After that is a date
    retry_after: str = "1"  # seconds
    server_error: float = 0.0  # 500
    drop: float = 0.0  # connection closed without an answer
    truncate: float = 0.0  # connection closed within the body
    reset: float = 0.0  # connection reset within the body
    bad_body: float = 0.0  # 200, but no JSON
    content_type: float = 0.0  # 200, and a gateway's page as text/html
    empty_choices: float = 0.0  # 200, and JSON without a choice
    hang: float = 0.0  # no answer for an hour
    drip: float = 0.0  # a body that trickles for an hour
    flood: float = 0.0  # a body without an end, as fast as it is taken
    fault_tries: int = 3  # after so many faulty tries a request is answered; -1: never
    # content faults
    refused: float = 0.0  # 400
    garbage: float = 0.0  # text that is not what was asked for
    cut: float = 0.0  # half of the text, finish_reason length


def by_schema(body: dict[str, Any], draw: Draw) -> str:
    """Return a text that conforms to what the request asks for."""
    if (schema := wanted_schema(body)) is not None:
        return json.dumps(fill(schema, draw), ensure_ascii=False)
    text = " ".join(draw.at("sentence", i).sentence() for i in range(4))
    return json.dumps({"text": text}) if (body.get("response_format") or {}).get("type") == "json_object" else text


class Server:
    """The handlers and what they count."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.makers: list[Maker] = [by_schema]
        if options.maker:
            module, _, name = options.maker.partition(":")
            self.makers.insert(0, getattr(importlib.import_module(module), name))
        self.admission = Admission(options.slots, options.capacity, options.requests_per_minute)
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.times: dict[str, list[float]] = defaultdict(list)
        self.faults: Counter[str] = Counter()
        self.ids: dict[str, list[float]] = defaultdict(list)
        self.spoilt: dict[str, str] = {}
        self.tokens: Counter[str] = Counter()
        self.in_flight = self.max_in_flight = 0
        self.first = self.last = 0.0  # request, and reply
        self.busy_s = 0.0  # requests in flight, over time, until ``seen``
        self.seen = 0.0
        self.last_request = (0.0, 0.0)  # when, and busy_s then

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/stats", self.stats)
        return app

    async def models(self, request: web.Request) -> web.StreamResponse:
        if self.options.no_models:
            return error(404, "no such route")
        return self._locked(request) or web.json_response({"object": "list", "data": [{"id": self.options.model}]})

    async def stats(self, request: web.Request) -> web.StreamResponse:
        if "short" in request.query:  # of a long run the whole is too long to ask for now and then
            return web.json_response({"replies": self.answered.total(), **self._figures()})
        return web.json_response(
            {
                **self._figures(),
                "asked": self.asked,
                "answered": self.answered,
                "times": self.times,  # seconds, by the machine's monotonic clock
                "ids": self.ids,  # X-Request-Id -> when it was asked, by the clock on the wall
                "spoilt": self.spoilt,  # X-Request-Id -> what is wrong with its reply; #1, #2, ... for further choices
            }
        )

    def _figures(self) -> dict[str, Any]:
        seconds = self.last - self.first
        asked, busy_s = self.last_request
        return {
            "faults": self.faults,
            "tokens": self.tokens,  # of the replies, as their usage would say
            "max_in_flight": self.max_in_flight,
            "max_working": self.admission.max_working,  # but for those that waited for a slot
            "mean_in_flight": self.busy_s / seconds if seconds else 0.0,
            "mean_in_flight_while_asked": busy_s / (asked - self.first) if asked > self.first else 0.0,
            "mean_working": self.admission.busy_s / seconds if seconds else 0.0,
            "first": self.first,  # request, by the machine's monotonic clock: endpoints can be compared
            "last": self.last,  # reply
            "seconds": seconds,  # from the first request to the last reply
        }

    async def chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if locked := self._locked(request):
            return locked
        body = json.loads(raw)
        name = hashlib.blake2b(raw + request.headers.get("X-Request-Id", "").encode(), digest_size=16).hexdigest()
        self.asked[name] += 1
        if not self.options.lean:
            self.times[name].append(time.monotonic())
        if not self.options.lean and (request_id := request.headers.get("X-Request-Id")):
            self.ids[request_id].append(time.time())
        begun = self._look()
        self.first = self.first or begun
        self.last_request = (begun, self.busy_s)
        if refusal := self.admission.refusal():
            self.faults[refusal[0]] += 1
            return refusal[1]
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            async with self.admission.place():
                return await self._answer(request, body, name)
        finally:
            self.last = self._look()
            self.in_flight -= 1

    def _look(self) -> float:
        """Return the time, and add up what was in flight until now; before that changes."""
        now = time.monotonic()
        self.busy_s += self.in_flight * (now - self.seen)
        self.seen = now
        return now

    async def _answer(self, request: web.Request, body: dict[str, Any], name: str) -> web.StreamResponse:
        options, draw = self.options, Draw(name)
        if body.get("model") != options.model:
            return error(404, f"The model `{body.get('model')}` does not exist.")
        if options.latency_s:
            spread = options.sigma * _NORMAL.inv_cdf(min(max(draw.at("latency").unit, 1e-9), 1 - 1e-9))
            await asyncio.sleep(options.latency_s * math.exp(spread))
        tries = self.asked[name]
        faulty = options.fault_tries < 0 or tries <= options.fault_tries
        if faulty and (fault := self._fault(TRANSPORT, draw.at("transport", tries))):
            return await TRANSPORT[fault](request, options.retry_after)
        n = body.get("n") or 1
        faults = [self._fault(_CONTENT, draw.at("content", *([i] if i else []))) for i in range(n)]
        if "refused" in faults:
            faults[0] = "refused"
        request_id = request.headers.get("X-Request-Id", name)
        self.spoilt |= {request_id + (f"#{i}" if i else ""): fault for i, fault in enumerate(faults) if fault}
        if faults[0] == "refused":
            return error(400, "This model's maximum context length is 4096 tokens.", code="context_length_exceeded")
        shown = range(min(n, options.most_choices or n))
        choices = [self._choice(i, faults[i], body, draw.at("reply", *([i] if i else []))) for i in shown]
        self.answered[name] += 1
        answer = {
            "id": f"chatcmpl-{name}",
            "object": "chat.completion",
            "created": 0,
            "model": options.model,
            "choices": choices,
            **self._usage(body, choices),
        }
        return web.json_response(answer, content_type=options.reply_type)

    def _choice(self, index: int, fault: str | None, body: dict[str, Any], draw: Draw) -> dict[str, Any]:
        text = next(text for maker in self.makers if (text := maker(body, draw)) is not None)
        if fault == "garbage":
            text = draw.at("garbage").sentence()
        if self.options.think:
            thought = " ".join(draw.at("thought", i).sentence() for i in range(1 + draw.at("thoughts").index(8)))
            text = f"<think>\n{thought}\n</think>\n\n{text}"
        if fault == "cut":
            text = text[: len(text) // 2]
        message = {"role": "assistant", "content": text}
        if self.options.reasoning:
            message["reasoning_content"] = draw.at("reasoning").sentence()
        return {"index": index, "message": message, "finish_reason": "length" if fault == "cut" else "stop"}

    def _usage(self, body: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
        """Count words as tokens: those of the prompt once, those of all choices together, as vLLM does."""
        prompt = sum(_words(message["content"]) for message in body["messages"])
        written = sum(_words(choice["message"]["content"]) for choice in choices)
        cached = prompt // 2 if self.options.usage == "full" else 0
        self.tokens.update(prompt=prompt, completion=written, cached=cached)
        if self.options.usage == "none":
            return {}
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
        }
        if self.options.usage == "full":
            usage["prompt_tokens_details"] = {"cached_tokens": cached}
        return {"usage": usage}

    def _fault(self, kinds: Iterable[str], draw: Draw) -> str | None:
        left = draw.unit
        for kind in kinds:
            left -= getattr(self.options, kind)
            if left < 0:
                self.faults[kind] += 1
                return kind
        return None

    def _locked(self, request: web.Request) -> web.StreamResponse | None:
        key = self.options.key
        if key and request.headers.get("Authorization") != f"Bearer {key}":
            return error(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        return None


def _words(content: Any) -> int:
    """Count the words of a message, whose content may be a list of parts."""
    if isinstance(content, str):
        return len(content.split())
    return sum(_words(part.get("text", "")) for part in content or [])
