"""A teacher behind one or several OpenAI-compatible servers.

It speaks aiohttp rather than httpx or the openai client, which spend several times the CPU on a request; with one
process asking for a whole run that is what bounds the rate.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import random
import time
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError
from curator_sdg.teacher import wire
from curator_sdg.teacher.base import Completion, Failure, Outcome, Refusal, Request
from curator_sdg.teacher.wire import Trouble

_CHECK_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 30.0
_BACKOFF_MAX_S = 60.0
_REST_MAX_S = 30.0
# So many requests are refused before any succeeds, and it is the parameters that are wrong, not the records.
_REFUSED_AT_FIRST = 20
_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_NO_MODEL_LIST = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_MODELS_NAMED = 10


@dataclass
class _Address:
    """One server, and how it has been doing."""

    base: str
    chat: URL
    proxy: str | None
    in_flight: int = 0
    sent: int = 0
    failures: int = 0  # in a row
    rests_until: float = 0.0

    def failed(self) -> None:
        """Send elsewhere for a while: a dead server fails fast, so it would always have the least in flight."""
        self.failures += 1
        self.rests_until = time.monotonic() + min(_REST_MAX_S, 0.5 * 2 ** min(self.failures, 10))

    def answered(self) -> None:
        self.failures = 0
        self.rests_until = 0.0


class EndpointTeacher:
    """Asks chat completions of ``config.base_urls``, each time where the least is in flight.

    Args:
        config: The ``teacher`` section.
        backoff_s: Upper end of the first pause before a retry; it doubles with every further one.
    """

    def __init__(self, config: TeacherSection, *, backoff_s: float = 0.5) -> None:
        self._config = config
        self._backoff_s = backoff_s
        self._addresses = [_Address(url, URL(f"{url}/chat/completions"), _proxy(url)) for url in config.base_urls]
        self._session: aiohttp.ClientSession | None = None
        self._secret: str | None = None
        self._proven = False  # a request has succeeded
        self._refused = 0

    async def open(self) -> None:
        """Read the key and make sure that every server is there and has the model.

        Raises:
            TeacherError: If the key is missing or not accepted, a server cannot be reached, or lacks the model.
        """
        headers = {"Content-Type": "application/json"}
        if (name := self._config.api_key_env) is not None:
            self._secret = os.environ.get(name, "").strip()
            if not self._secret:
                raise TeacherError(f"teacher.api_key_env: the environment variable {name} is not set; export it")
            headers["Authorization"] = f"Bearer {self._secret}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            # The dispatcher's cap is the only one: a request that waited here would count the wait as its own time.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
        )
        await asyncio.gather(*(self._check(address) for address in self._addresses))

    async def ask(self, request: Request) -> Outcome:
        """Send one request until it is answered, refused, or out of retries.

        Raises:
            TeacherError: If the server rejects the key, lacks the model, or refuses everything from the start.
        """
        body = wire.body(request)
        trouble = Trouble("", "")
        for attempt in range(self._config.max_retries + 1):
            if attempt:
                await asyncio.sleep(self._pause(attempt, trouble.retry_after))
            answer = await self._send(request.key, body)
            if not isinstance(answer, Trouble):
                return answer
            trouble = answer
        tries = self._config.max_retries + 1
        return Failure(request.key, trouble.reason, f"{trouble.detail} (tried {tries} times)")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, key: str, body: bytes) -> Completion | Refusal | Trouble:
        """Send a request once."""
        if self._session is None:
            raise TeacherError("the endpoint was asked before it was opened")
        address = self._choose()
        address.in_flight += 1
        address.sent += 1
        try:
            async with self._session.post(
                address.chat,
                data=body,
                # The same for every try of a request: it ties a server's log to the journal.
                headers={"X-Request-Id": key},
                proxy=address.proxy,
                allow_redirects=False,
            ) as response:
                status, content, after = response.status, await response.read(), response.headers.get("Retry-After")
        except TimeoutError:
            address.failed()
            return Trouble("timeout", f"no whole answer within {self._config.timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            address.failed()
            return Trouble("connection", f"{type(error).__name__}: {self._hide(str(error))}")
        finally:
            address.in_flight -= 1
        if status == HTTPStatus.OK:
            return self._judge(address, wire.parse(content, key))
        message = f"HTTP {status}: {self._hide(wire.said(content))}"
        if (reason := wire.retried(status)) is not None:
            if status != HTTPStatus.TOO_MANY_REQUESTS:
                address.failed()
            return Trouble(reason, message, wire.retry_after(after))
        address.answered()
        if status in _REFUSALS:
            return self._refuse(address, key, status, message)
        raise TeacherError(self._unusable(address, status, message))

    def _judge(self, address: _Address, answer: Completion | Trouble) -> Completion | Trouble:
        if isinstance(answer, Trouble):
            address.failed()
            return Trouble(answer.reason, self._hide(answer.detail))
        address.answered()
        self._proven = True
        return answer

    def _refuse(self, address: _Address, key: str, status: int, message: str) -> Refusal:
        self._refused += 1
        if not self._proven and self._refused >= _REFUSED_AT_FIRST:
            raise TeacherError(
                f"teacher: {address.base} refused the first {self._refused} requests ({message}); if it does not know "
                f"response_format, set teacher.structured (now {self._config.structured}) to json_object or none; "
                "otherwise look at the sampling sections and at the length of the prompts"
            )
        return Refusal(key, status, message)

    def _choose(self) -> _Address:
        if len(self._addresses) == 1:
            return self._addresses[0]
        now = time.monotonic()
        return min(self._addresses, key=lambda a: (max(0.0, a.rests_until - now), a.in_flight, a.sent))

    def _pause(self, attempt: int, retry_after: float) -> float:
        """Return seconds before the next try: exponential with full jitter, on top of what the server asks for."""
        most = min(_BACKOFF_MAX_S, self._backoff_s * 2 ** (attempt - 1))
        return retry_after + random.uniform(0, most)  # noqa: S311 - spreads retries; no output depends on it

    async def _check(self, address: _Address) -> None:
        """Ask a server for its models."""
        for attempt in range(self._config.max_retries + 1):
            status, content, after = await self._models(address)
            if wire.retried(status) is None:
                break
            await asyncio.sleep(self._pause(attempt + 1, wire.retry_after(after)))
        if status in _NO_MODEL_LIST:
            return
        if status != HTTPStatus.OK:
            raise TeacherError(self._unusable(address, status, f"HTTP {status}: {self._hide(wire.said(content))}"))
        known, model = wire.models(content), self._config.model
        if known is None or model in known:
            return
        near = difflib.get_close_matches(model, known, n=len(known) or 1, cutoff=0.0)
        raise TeacherError(
            f"teacher.model: {address.base} has no model {model!r}; it has {', '.join(near[:_MODELS_NAMED]) or 'none'}"
            + (f" and {len(near) - _MODELS_NAMED} more" if len(near) > _MODELS_NAMED else "")
        )

    async def _models(self, address: _Address) -> tuple[int, bytes, str | None]:
        if self._session is None:
            raise TeacherError("the endpoint was asked before it was opened")
        try:
            async with self._session.get(
                f"{address.base}/models",
                proxy=address.proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_CHECK_TIMEOUT_S),
            ) as response:
                return response.status, await response.read(), response.headers.get("Retry-After")
        except TimeoutError:
            reason = f"no answer within {_CHECK_TIMEOUT_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            reason = self._hide(str(error)) or type(error).__name__
        raise TeacherError(
            f"teacher.base_urls: {address.base} cannot be reached ({reason}); is the server running?"
        ) from None

    def _unusable(self, address: _Address, status: int, message: str) -> str:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            key = self._config.api_key_env
            return (
                f"teacher.api_key_env: {address.base} does not accept the key in {key} ({message})"
                if key
                else f"teacher.api_key_env: {address.base} asks for a key ({message}); name the variable that holds it"
            )
        if status == HTTPStatus.NOT_FOUND:
            return (
                f"teacher.model: {address.base} knows no model {self._config.model!r}, or no chat completions under "
                f"that address ({message})"
            )
        return f"teacher.base_urls: {address.base} cannot be used ({message})"

    def _hide(self, text: str) -> str:
        """Blot out the key, which some servers echo."""
        return text.replace(self._secret, "***") if self._secret else text


def _proxy(url: str) -> str | None:
    """Return the proxy of the environment for ``url``, looked up once instead of for every request."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
