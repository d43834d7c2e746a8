"""What goes wrong between a client and a server, done on the real socket: the test endpoint's transport faults."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
_BEGUN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"choices": ['
_DRIP_S = 0.02
_FOR_EVER_S = 3600

# What happens to one request; the text is the seconds of Options.retry_after.
Fault = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


def error(status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> web.Response:
    """Return an error answer in OpenAI's format."""
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=headers)


async def rate_limit(request: web.Request, after: str) -> web.StreamResponse:
    return error(429, "slow down")


async def rate_limit_after(request: web.Request, after: str) -> web.StreamResponse:
    return error(429, "slow down", headers={"Retry-After": after})


async def rate_limit_date(request: web.Request, after: str) -> web.StreamResponse:
    date = formatdate(math.ceil(time.time() + float(after)), usegmt=True)  # whole seconds: not before ``after``
    return error(429, "slow down", headers={"Retry-After": date})


async def server_error(request: web.Request, after: str) -> web.StreamResponse:
    return error(500, "temperature in the machine room")


async def drop(request: web.Request, after: str) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.close()
    raise web.HTTPInternalServerError  # goes nowhere: the connection is closed


async def truncate(request: web.Request, after: str) -> web.StreamResponse:
    """Close the connection within the body, politely."""
    if request.transport is not None:
        request.transport.write(_BEGUN)
    return await drop(request, after)


async def reset(request: web.Request, after: str) -> web.StreamResponse:
    """Reset the connection within the body (RST), as a killed server or a restarted balancer does."""
    if request.transport is not None:
        request.transport.write(_BEGUN)
        await asyncio.sleep(_DRIP_S)  # else the reset may overtake the headers
    if request.transport is not None:
        # Lingering for no time is what makes close() send a RST instead of a FIN.
        linger = struct.pack("ii", 1, 0)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()
    raise web.HTTPInternalServerError


async def bad_body(request: web.Request, after: str) -> web.StreamResponse:
    return web.Response(text="<html>gateway</html>")


async def content_type(request: web.Request, after: str) -> web.StreamResponse:
    """Send a gateway's page, which says 200 all the same."""
    return web.Response(text=_PAGE, content_type="text/html")


async def empty_choices(request: web.Request, after: str) -> web.StreamResponse:
    usage = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
    return web.json_response({"object": "chat.completion", "choices": [], "usage": usage})


async def hang(request: web.Request, after: str) -> web.StreamResponse:
    await asyncio.sleep(_FOR_EVER_S)
    return error(500, "nobody waits so long")


async def drip(request: web.Request, after: str) -> web.StreamResponse:
    """Send white space for ever: never so long nothing that a read times out, and never a reply."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(int(_FOR_EVER_S / _DRIP_S)):
        await response.write(b" ")
        await asyncio.sleep(_DRIP_S)
    return response


async def flood(request: web.Request, after: str) -> web.StreamResponse:
    """Send white space for ever, as fast as it is taken."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * (1 << 20))


# By the names of the options; their order is the order in which a request's draw falls on them.
TRANSPORT: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        *(rate_limit, rate_limit_after, server_error, drop, truncate, bad_body, hang),
        *(rate_limit_date, drip, content_type, empty_choices, reset, flood),
    )
}
