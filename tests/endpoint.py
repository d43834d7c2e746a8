"""A local OpenAI-compatible server for tests, in a process of its own.

``python -m tests.endpoint --port 8000 --latency-s 0.5 --sigma 0.6 --server-error 0.05`` runs it by hand, and
``with running_endpoint(server_error=0.05) as endpoint:`` in a test. :class:`tests.server.Options` lists what it does.

A reply is a pure function of the request (its body and its ``X-Request-Id``), whichever server gives it. So is what is
wrong with its *content* (``garbage``, ``cut``, ``refused``); *transport* faults depend on the request and on how often
it was asked before, so that a retry may fare better. ``GET /stats`` tells how often each request was asked and
answered.

Replies are made by *makers*, functions of the body and a :class:`~tests.filler.Draw`: the first that returns a text
is taken, the schema filler comes last. ``--maker package.module:function`` (or ``maker=``) puts one in front.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tests.server import Options, Server

_ROOT = Path(__file__).parents[1]


class Endpoint:
    """A server as its client sees it. It can be stopped and started again where it was.

    Attributes:
        url: Its address, up to and including /v1.
        process: The one that runs, or ran last.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._held: socket.socket | None = None
        self.url = ""
        self.start()

    def start(self, **changes: Any) -> None:
        """Start the server and wait until it listens; once more at the same address. It counts from zero.

        Args:
            changes: Options that are others from now on.
        """
        self._options |= changes
        port = {"port": urlsplit(self.url).port} if self.url else {}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in (self._options | port).items()]
        command = [sys.executable, "-m", "tests.endpoint", *flags]
        self.process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the test endpoint did not start"
        self._let_go()

    def stop(self) -> None:
        """Kill the server: connections break, and its address refuses new ones until it is started again."""
        self.process.kill()
        self.process.wait()
        # Bound but not listening, the port goes to nobody else; nor can a client, which draws the port of its own end
        # from the same range, connect to itself there.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", urlsplit(self.url).port))

    def close(self) -> None:
        """End the server for good."""
        with self.process:
            self.process.kill()
        self._let_go()

    def stats(self, *, short: bool = False) -> dict[str, Any]:
        """Return what it counted since it was started."""
        address = self.url.removesuffix("v1") + "stats" + ("?short" if short else "")
        with urllib.request.urlopen(address, timeout=30) as answer:
            stats: dict[str, Any] = json.load(answer)
        return stats

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


@contextlib.contextmanager
def running_endpoint(**options: Any) -> Iterator[Endpoint]:
    """Run a server with ``Options(**options)`` until the block ends."""
    endpoint = Endpoint(**options)
    try:
        yield endpoint
    finally:
        endpoint.close()


async def _serve(options: Options) -> None:
    # A client that goes away ends its request, as it does in vLLM.
    runner = web.AppRunner(Server(options).app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port, backlog=4096)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.endpoint", description=Options.__doc__)
    for field in fields(Options):
        default: Any = field.default
        kind = (lambda text: text.lower() in ("true", "1", "yes")) if isinstance(default, bool) else type(default)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=default, help=f"default {default!r}"
        )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Options(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
