"""A teacher behind one or several OpenAI-compatible servers.

It speaks aiohttp rather than httpx or the openai client, which spend several times the CPU on a request; with one
process asking for a whole run that is what bounds the rate.
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

import aiohttp
from loguru import logger
from yarl import URL

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError
from curator_sdg.teacher.base import Answer, Refusal, Request, Trouble
from curator_sdg.teacher.dispatch.line import pause
from curator_sdg.teacher.dispatch.places import Place, Places
from curator_sdg.teacher.endpoint import wire
from curator_sdg.teacher.endpoint.addresses import EndpointsFile, proxy

_CHECK_TIMEOUT_S = 10.0
_CHECK_BACKOFF_S = 0.5
_CONNECT_TIMEOUT_S = 30.0
_READ_EVERY_S = 5.0
# So many requests are refused before any succeeds, and it is the parameters that are wrong, not the records.
_REFUSED_AT_FIRST = 20
_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_NO_MODEL_LIST = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_MODELS_NAMED = 10
_LONGEST = 1 << 26  # bytes of an answer; one without an end would fill the memory long before it takes too long


class _Server(NamedTuple):
    chat: URL
    proxy: str | None  # looked up once instead of for every request


class EndpointTeacher:
    """Asks chat completions of ``config.base_urls``, and of those that ``config.endpoints_file`` names.

    Every address is a place. One of ``base_urls`` that cannot be reached at the start rests, as long as another is
    there. The file is read every few seconds, and whoever is in it joins once its ``/models`` says that all is well;
    who is not leaves.

    Args:
        config: The ``teacher`` section.
    """

    def __init__(self, config: TeacherSection) -> None:
        self._config = config
        self._file = EndpointsFile(config.endpoints_file) if config.endpoints_file is not None else None
        self._servers: dict[str, _Server] = {}
        self._session: aiohttp.ClientSession | None = None
        self._reading: asyncio.Task[None] | None = None
        self._told: set[tuple[str, str]] = set()
        self._secret: str | None = None
        self._proven = False  # a request has succeeded
        self._refused = 0

    async def open(self, places: Places) -> None:
        """Read the key and make sure that there are servers that have the model.

        Raises:
            TeacherError: If the key is missing or not accepted, no server can be reached, or one of ``base_urls``
                lacks the model.
        """
        headers = {"Content-Type": "application/json"}
        if (name := self._config.api_key_env) is not None:
            self._secret = os.environ.get(name, "").strip()
            if not self._secret:
                raise TeacherError(f"teacher.api_key_env: the environment variable {name} is not set; export it")
            if not self._secret.isprintable():
                raise TeacherError(f"teacher.api_key_env: {name} holds a line break or the like, which no key has")
            headers["Authorization"] = f"Bearer {self._secret}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            # The dispatcher's cap is the only one: a request that waited here would count the wait as its own time.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
        )
        await self._open_named(places)
        if self._file is not None:
            await self._read(self._file, places)
            self._reading = asyncio.get_running_loop().create_task(self._read_on(self._file, places))

    async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
        """Send one request, for one or several samples.

        Raises:
            TeacherError: If the server rejects the key, lacks the model, or refuses everything from the start. Once
                any request has succeeded that is a trouble as others are, lest what is in flight be lost for it.
        """
        if self._session is None:
            raise TeacherError("the endpoint was asked before it was opened")
        server, key = self._servers[place.name], requests[0].key
        try:
            async with self._session.post(
                server.chat,
                data=wire.body(requests[0], len(requests)),
                # The same for every try of a request: it ties a server's log to the journal.
                headers={"X-Request-Id": key},
                proxy=server.proxy,
                allow_redirects=False,
            ) as response:
                status, content, after = response.status, await _body(response), response.headers.get("Retry-After")
        except TimeoutError:
            return Trouble("timeout", f"no whole answer within {self._config.timeout_s:g} s (its timeout_s)")
        except (aiohttp.ClientError, OSError) as error:
            return Trouble("connection", f"{type(error).__name__}: {self._hide(str(error))}")
        if status == HTTPStatus.OK:
            answer = wire.parse(content, [request.key for request in requests])
            self._proven = self._proven or not isinstance(answer, Trouble)
            return self._hidden(answer) if isinstance(answer, Trouble) else answer
        if (trouble := wire.retried(status, content, after)) is not None:
            return self._hidden(trouble)
        message = f"HTTP {status}: {self._hide(wire.said(content))}"
        if status in _REFUSALS:
            # Several at once may be what it does not take.
            return () if len(requests) > 1 else (self._refuse(place.name, key, status, message),)
        why = self._unusable(place.name, status, message)
        if self._proven:  # a gateway in between, a quota, a server that is replaced: it may pass
            return Trouble("unusable", why)
        raise TeacherError(why)

    async def close(self) -> None:
        """Close all connections."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _refuse(self, url: str, key: str, status: int, message: str) -> Refusal:
        self._refused += 1
        if not self._proven and self._refused >= _REFUSED_AT_FIRST:
            raise TeacherError(
                f"teacher: {url} refused the first {self._refused} requests ({message}); if it does not know "
                f"response_format, set teacher.structured (now {self._config.structured}) to json_object or none; "
                "otherwise look at the sampling sections and at the length of the prompts"
            )
        return Refusal(key, status, message)

    async def _open_named(self, places: Places) -> None:
        urls = self._config.base_urls
        troubles = await asyncio.gather(*(self._check(url, self._config.max_retries + 1) for url in urls))
        down = [_down(url, trouble) for url, trouble in zip(urls, troubles, strict=True) if trouble is not None]
        if down and len(down) == len(urls) and self._file is None:
            raise TeacherError(f"teacher.base_urls: {'; '.join(down)}; is the server running?")
        for url, trouble in zip(urls, troubles, strict=True):
            place = self._add(url, places)
            if trouble is not None:
                place.rest(trouble, asyncio.get_running_loop().time())
                logger.warning(f"teacher.base_urls: {_down(url, trouble)}; the run begins without it")

    def _add(self, url: str, places: Places) -> Place:
        self._servers[url] = _Server(URL(f"{url}/chat/completions"), proxy(url))
        return places.add(url)

    async def _read_on(self, file: EndpointsFile, places: Places) -> None:
        while True:
            await asyncio.sleep(_READ_EVERY_S)
            await self._read(file, places)

    async def _read(self, file: EndpointsFile, places: Places) -> None:
        """Have those that are new in the file join, and those that are no more in it leave."""
        urls = await asyncio.to_thread(file.read)  # a network file system may take its time
        for place in places:
            if place.name not in urls and place.name not in self._config.base_urls:
                places.remove(place.name)
        places.lack = (
            f"teacher.endpoints_file: no address of {file.path} can be used"
            if urls
            else (f"teacher.endpoints_file: {file.path} names no address")
        )
        places.over = file.ended if not self._config.base_urls else None
        await asyncio.gather(*(self._join(url, places) for url in urls if url not in places))

    async def _join(self, url: str, places: Places) -> None:
        try:
            trouble = await self._check(url)
            if trouble is None:
                self._add(url, places)
                return
            reason, message = trouble.reason, _down(url, trouble)
        except TeacherError as error:  # a server in a file may be anybody's: it is no reason to end the run
            reason, message = "unusable", str(error)
        places.lack = f"teacher.endpoints_file: {message}"
        if (url, reason) not in self._told:  # not by the message, in which some servers put a number or the time
            self._told.add((url, reason))
            logger.warning(f"teacher.endpoints_file: {message}; it joins when that is over")

    async def _check(self, url: str, tries: int = 1) -> Trouble | None:
        """Ask a server for its models, and return what is in the way if it does not answer now.

        Raises:
            TeacherError: If it answers that it will never do.
        """
        trouble: Trouble | None = None
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(pause(attempt, trouble.retry_after if trouble else 0.0, _CHECK_BACKOFF_S))
            answer = await self._models(url)
            if isinstance(answer, Trouble):
                return answer
            status, content, after = answer
            if status == HTTPStatus.OK:
                self._has_model(url, content)
            if status == HTTPStatus.OK or status in _NO_MODEL_LIST:
                return None
            trouble = wire.retried(status, content, after)
            if trouble is None:
                raise TeacherError(self._unusable(url, status, f"HTTP {status}: {self._hide(wire.said(content))}"))
        return trouble and self._hidden(trouble)

    def _has_model(self, url: str, content: bytes) -> None:
        known, model = wire.models(content), self._config.model
        if known is None or model in known:
            return
        near = difflib.get_close_matches(model, known, n=len(known) or 1, cutoff=0.0)
        raise TeacherError(
            f"teacher.model: {url} has no model {model!r}; it has {', '.join(near[:_MODELS_NAMED]) or 'none'}"
            + (f" and {len(near) - _MODELS_NAMED} more" if len(near) > _MODELS_NAMED else "")
        )

    async def _models(self, url: str) -> tuple[int, bytes, str | None] | Trouble:
        if self._session is None:
            raise TeacherError("the endpoint was asked before it was opened")
        try:
            async with self._session.get(
                f"{url}/models",
                proxy=proxy(url),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_CHECK_TIMEOUT_S),
            ) as response:
                return response.status, await _body(response), response.headers.get("Retry-After")
        except TimeoutError:
            return Trouble("timeout", f"no answer within {_CHECK_TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Trouble("connection", self._hide(str(error)) or type(error).__name__)

    def _unusable(self, url: str, status: int, message: str) -> str:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            key = self._config.api_key_env
            return (
                f"teacher.api_key_env: {url} does not accept the key in {key} ({message})"
                if key
                else f"teacher.api_key_env: {url} asks for a key ({message}); name the variable that holds it"
            )
        if status == HTTPStatus.NOT_FOUND:
            return (
                f"teacher.model: {url} knows no model {self._config.model!r}, or no chat completions under "
                f"that address ({message})"
            )
        return f"teacher.base_urls: {url} cannot be used ({message})"

    def _hidden(self, trouble: Trouble) -> Trouble:
        return trouble._replace(detail=self._hide(trouble.detail))

    def _hide(self, text: str) -> str:
        """Blot out the key, which some servers echo."""
        return text.replace(self._secret, "***") if self._secret else text


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer.

    Raises:
        aiohttp.ClientPayloadError: If it does not come whole, or is longer than any answer.
    """
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _LONGEST:
            raise aiohttp.ClientPayloadError(f"an answer of more than {_LONGEST:,} bytes")
    return b"".join(parts)


def _down(url: str, trouble: Trouble) -> str:
    verb = "reached" if trouble.reason in ("timeout", "connection") else "used"
    return f"{url} cannot be {verb} ({trouble.detail})"
