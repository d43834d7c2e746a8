"""A proxy before an endpoint that keeps what passes, so that accounts can be compared with what the server said."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Recording:
    """What passed: the bodies of chat requests and of their answers with status 200, both in the order of answers."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)

    def usage(self, kind: str) -> int:
        """Return the sum of ``prompt_tokens`` or ``completion_tokens`` over all replies."""
        return sum(reply["usage"][kind] for reply in self.replies)


@contextmanager
def recorded(target: str) -> Iterator[Recording]:
    """Pass on what is asked of the proxy to the server at ``target``, up to and including ``/v1``."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, body: bytes | None) -> None:
            request = urllib.request.Request(target.removesuffix("/v1") + self.path, body)
            request.add_header("Content-Type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    status, content = answer.status, answer.read()
            except urllib.error.HTTPError as error:
                status, content = error.code, error.read()
            if body is not None and status == 200:
                with lock:
                    recording.requests.append(json.loads(body))
                    recording.replies.append(json.loads(content))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recording = Recording(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield recording
        finally:
            server.shutdown()
            thread.join()
