"""One server of our own: started under a keeper, watched, and started again when it dies."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError
from curator_sdg.teacher.servers import keeper, launch

GRACE_S = 10.0  # from SIGTERM to SIGKILL
GONE_S = 15.0  # until a server must be gone after that
LOCAL = "127.0.0.1"
_POLL_S = 0.2  # between looks at the process
_START_LOOK_S, _LOOK_S = 0.5, 5.0  # between questions to a server that starts, and to one that runs
_ANSWER_S = 10.0  # for an answer to one
_UNWELL_S = 120.0  # without an answer, and the server is started again; a busy one may be slow to answer
_BACKOFF_MAX_S = 60.0
_WELL_S = 3600.0  # after so long a server that dies has all its restarts again
_LAST_LINES, _ERRORS, _LAST_BYTES = 20, 3, 64_000
_LINE = 500  # characters of a line that is shown
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"\w(Error|Exception): \S")
_NO_HEALTH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


@dataclass(frozen=True)
class Site:
    """What the servers of one teacher have in common.

    Attributes:
        config: The teacher.
        folder: Where the logs are.
        bind: The address that servers listen at.
        host: The name that clients reach them by.
        lock: A file that the keepers hold open as long as they live.
        port: Gives a server, by its number, a free port.
        changed: Called when a server answers, or no longer does.
        say: Told what a person wants to know.
    """

    config: TeacherSection
    folder: Path
    bind: str
    host: str
    lock: int
    port: Callable[[int], int]
    changed: Callable[[], None]
    say: Callable[[str], None]


class Server:
    """One server, through all its restarts; a thread of its own looks after it.

    Args:
        site: Where it belongs.
        number: Which of the servers it is, from 0.
        gpus: The GPUs that it may use.
    """

    def __init__(self, site: Site, number: int, gpus: launch.Gpus) -> None:
        self.url: str | None = None
        """Where it is reached, up to and including ``/v1``; null while it does not answer."""
        self.ended: str | None = None
        """Why it is not started again; null as long as it may be."""
        self._site = site
        self._number = number
        self._gpus = gpus
        self._name = f"server {number}" + (f" (GPU {', '.join(gpus)})" if gpus else "")
        self._log = site.folder / f"vllm-{number}.log"
        self._port = 0  # of the latest start
        self._answered = False  # ever
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"curator-sdg server {number}", daemon=True)
        # Nothing on this machine is behind a proxy, whatever the environment says.
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def start(self) -> None:
        """Start it, and return at once."""
        self._thread.start()

    def stop(self) -> None:
        """Tell it to end, and return at once."""
        self._stopping.set()

    def wait(self) -> None:
        """Return once it has ended, and with it all its processes."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        """Start it, and again when it ends, until it is told to end or its restarts are used up."""
        restarts, most = 0, self._site.config.vllm.max_restarts
        while True:
            began = time.monotonic()
            try:
                why = self._once()
            except Exception as error:  # noqa: BLE001 - whoever waits for the server must hear of it
                why = f"cannot be started: {error}"
            if self._stopping.is_set():
                return
            if time.monotonic() - began > _WELL_S:
                restarts = 0
            if restarts >= most or not (self._answered or self._lost_its_port()):
                again = f", after {restarts} restart{'s' * (restarts > 1)}" if restarts else ""
                self.ended = f"{self._name} {why}{again}"
                self._site.changed()
                return
            restarts += 1
            how = why if self._answered else "lost its port to another program"
            self._site.say(f"{self._name} {how}; restart {restarts} of {most}")
            self._stopping.wait(min(_BACKOFF_MAX_S, 2.0 ** (restarts - 1)))

    def _lost_its_port(self) -> bool:
        """Whether another program listens where it was to, as happens when two starts choose a port at once."""
        try:
            return self._site.port(self._number) != self._port
        except TeacherError:  # no other is free
            return False

    def _once(self) -> str:
        """Run it once, and return how it ended."""
        site = self._site
        self._port = port = site.port(self._number)
        child, log_begins = self._open(port)
        try:
            why = self._until_it_answers(child, port)
            if answered := why is None:
                self._answered = True
                self.url = f"http://{site.host}:{port}/v1"
                site.say(f"{self._name} answers at {self.url}")
                site.changed()
                why = self._while_it_answers(child, port)
        finally:
            if self.url is not None:
                self.url = None
                site.changed()
            _end(child)
        how = why or f"ended with {_status(child.returncode)}"
        return f"{how}; see {self._log}" if answered else f"{how} before it answered; {self._last_lines(log_begins)}"

    def _open(self, port: int) -> tuple[subprocess.Popen[bytes], int]:
        """Start the keeper and the server; returns it, and where its lines in the log begin."""
        site = self._site
        command = launch.command(site.config, site.bind, port)
        with self._log.open("ab") as log:
            now, gpus = datetime.now(UTC).isoformat(timespec="seconds"), ",".join(self._gpus) or "not assigned"
            log.write(f"==== {now} GPUs {gpus}: {' '.join(command)}\n".encode())
            log.flush()
            child = subprocess.Popen(  # noqa: S603 - the configuration's own command
                [
                    *(sys.executable, "-I", keeper.__file__),
                    *("--parent", str(os.getpid()), "--grace", str(GRACE_S), "--", *command),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=launch.environment(site.config, self._gpus),
                start_new_session=True,  # Ctrl-C in a terminal is for us alone, who end it in order
                pass_fds=(site.lock,),
            )
            return child, log.tell()

    def _until_it_answers(self, child: subprocess.Popen[bytes], port: int) -> str | None:
        """Return null once it answers; or why it will not, empty where its process says so or it is told to end."""
        limit = self._site.config.vllm.start_timeout_s
        end, next_look = time.monotonic() + limit, 0.0
        while not self._stopping.wait(_POLL_S):
            if child.poll() is not None:
                return ""
            if time.monotonic() < next_look:
                continue
            if self._well(port):
                return None
            if time.monotonic() > end:
                return f"was given the {limit:g} s of teacher.vllm.start_timeout_s, and ended"
            next_look = time.monotonic() + _START_LOOK_S
        return ""

    def _while_it_answers(self, child: subprocess.Popen[bytes], port: int) -> str:
        """Return why it is ended, or nothing where its process says so or it is told to end."""
        answered = looked = time.monotonic()
        while not self._stopping.wait(_POLL_S):
            if child.poll() is not None:
                return ""
            if time.monotonic() - looked < _LOOK_S:
                continue
            if self._well(port):
                answered = time.monotonic()
            elif time.monotonic() - answered > _UNWELL_S:
                return f"gave no answer for {_UNWELL_S:g} s"
            looked = time.monotonic()
        return ""

    def _well(self, port: int) -> bool:
        """Return whether it says that it is well; one that does not know the question is asked for its models."""
        status = self._get(f"http://{LOCAL}:{port}/health")
        if status in _NO_HEALTH:
            status = self._get(f"http://{LOCAL}:{port}/v1/models")
        return status == HTTPStatus.OK

    def _get(self, url: str) -> int | None:
        request = urllib.request.Request(url)  # noqa: S310 - our own server
        if key := launch.secret(self._site.config):
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with self._http.open(request, timeout=_ANSWER_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, http.client.HTTPException, ValueError):  # the last: it leads to an address that is none
            return None

    def _last_lines(self, begins: int) -> str:
        """Return the last lines that it wrote since it was started, and before them errors from further up.

        vLLM's last words are that its engine failed; the engine's own are above them.
        """
        with self._log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(begins, end - _LAST_BYTES))
            written = [_plain(line) for line in log.read().decode("utf-8", "replace").split("\n")]
        lines = [line for line in written if line.strip(" ^~")]  # a traceback's underlining says nothing here
        if not lines:
            return f"it wrote nothing to {self._log}"
        errors = list(dict.fromkeys(line for line in lines[:-_LAST_LINES] if _ERROR.search(line)))[-_ERRORS:]
        shown = [*errors, *(["..."] if errors else []), *lines[-_LAST_LINES:]]
        return f"the last lines of {self._log}:\n" + "\n".join(shown)


def _plain(line: str) -> str:
    """Return a line without what a terminal would obey, and no longer than one can read."""
    text = _COLOUR.sub("", line).replace("\t", " ").rstrip("\r")
    text = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return text if len(text) <= _LINE else f"{text[:_LINE]} ..."


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a keeper, and with it its server, and wait for both."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(GRACE_S + GONE_S)
    except subprocess.TimeoutExpired:
        child.kill()  # whereupon the kernel ends the server
        child.wait()


def _status(code: int) -> str:
    """Return in words how a keeper ended, which is how its server did."""
    return f"signal {code - 128}" if code > 128 else f"status {code}"
