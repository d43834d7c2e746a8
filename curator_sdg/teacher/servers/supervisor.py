"""Servers of our own: one a group of GPUs, as long as they are wanted, and no longer.

The addresses of those that answer stand in a file, which the endpoint teacher reads again and again; so a server that
dies is missed only by the requests that it held.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from loguru import logger

from curator_sdg.config import TeacherSection
from curator_sdg.errors import ConfigError, StoreError, TeacherError
from curator_sdg.store import publish_file, writing
from curator_sdg.teacher.endpoint.addresses import ENDED
from curator_sdg.teacher.servers import launch
from curator_sdg.teacher.servers.server import GONE_S, GRACE_S, LOCAL, Server, Site

_CLAIM_S = GRACE_S + GONE_S + 60  # until an earlier start has noticed this one, and its servers are gone
_PORTS = 65_536


class Servers:
    """The servers of one teacher on this machine, while the context lasts.

    Args:
        config: The ``teacher`` section; its engine does not matter.
        folder: Where the logs ``vllm-<i>.log`` go; null: a temporary folder, which is removed when all went well. Two
            starts never have servers in one folder at once: the later one waits until those of the other are gone.
        register: A folder that other machines share, in which the addresses are put into a file of this machine's
            own. Null: they are put into ``endpoints.txt`` in ``folder``.
        host: This machine's name in the addresses. Null: the servers can be reached from this machine alone.
        say: Is told what a person wants to know, a line at a time, from several threads; null: the log.
    """

    def __init__(
        self,
        config: TeacherSection,
        folder: Path | None = None,
        *,
        register: Path | None = None,
        host: str | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.endpoints: Path | None = None
        """The file of addresses, once the context is entered."""
        self._folder = folder
        self._register = register
        self._host = host or LOCAL
        self._bind = LOCAL if host is None else "0.0.0.0"  # noqa: S104 - other machines are to reach it
        self._hear: Callable[[str], None] = say or logger.info
        self._servers: list[Server] = []
        self._ports: dict[int, int] = {}  # by number of the server
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._stopped = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start the servers, and return once all of them answer.

        Raises:
            TeacherError: If a GPU, the interpreter or vLLM is missing; if a server ends before it answers, with the
                last lines of its log; or if it does not answer in time.
            StoreError: If the folder or the file of addresses cannot be written.
        """
        groups = launch.prepare(self.config)
        launch.secret(self.config)
        try:
            site = self._site()
            for number in range(len(groups)):
                self._port(number)
            self.endpoints = self._choose_endpoints(site.folder)
            self._stack.callback(self.endpoints.unlink, missing_ok=True)
            self._publish()
            many = f"{len(groups)} servers" if len(groups) > 1 else "a server"
            self._say(f"starting {many} of {self.config.model}, which may take minutes; logs in {site.folder}")
            for number, gpus in enumerate(groups):
                self._servers.append(Server(site, number, gpus))
                self._servers[-1].start()
            with self._news:
                self._news.wait_for(lambda: self._stopped or self._any_ended or len(self.urls) == len(groups))
            self._check_started()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the servers that answer, up to and including ``/v1``."""
        return tuple(url for server in self._servers if (url := server.url))

    @property
    def failure(self) -> str | None:
        """Why no server is left, or null."""
        why = [server.ended for server in self._servers]
        if not why or not all(why):
            return None
        return f"teacher.vllm: no server is left: {why[-1]}; look there, and run the same command again"

    def wait(self, seconds: float | None = None) -> str | None:
        """Return why no server is left, once that is so; or null, after ``seconds``."""
        with self._news:
            self._news.wait_for(lambda: self.failure, seconds)
        return self.failure

    def stop(self) -> None:
        """Have whoever is about to enter the context in another thread give up."""
        with self._news:
            self._stopped = True
            self._news.notify_all()

    @property
    def _any_ended(self) -> bool:
        return any(server.ended for server in self._servers)

    def _check_started(self) -> None:
        if self._stopped:
            raise TeacherError("teacher.vllm: its servers were no longer wanted before all of them answered")
        for server in self._servers:
            if server.ended:
                raise TeacherError(f"teacher.vllm: {server.ended}")

    def _site(self) -> Site:
        """Make the folder, and claim it."""
        if self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix="curator-sdg-servers-"))
            self._stack.callback(self._tidy, folder)
        else:
            folder = self._folder.absolute()
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            claim = (folder / "lock").open("ab")
        self._stack.callback(claim.close)
        self._wait_for(claim.fileno(), folder)
        return Site(
            self.config, folder, self._bind, self._host, claim.fileno(), self._port, self._take_note, self._say
        )

    def _wait_for(self, lock: int, folder: Path) -> None:
        """Wait until the servers of an earlier start, which hold the GPUs' memory, are gone.

        Their keepers hold the lock, too, so it is free only when the last of them is gone, even if the process that
        started them was killed.
        """
        end, told = time.monotonic() + _CLAIM_S, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._stopped or time.monotonic() > end:
                    raise TeacherError(
                        f"teacher.vllm: the servers of another start still run, with their logs in {folder}; end that "
                        "start first"
                    ) from None
                if not told:
                    self._say("waiting until the servers of an earlier start are gone")
                    told = True
                time.sleep(0.2)
            except OSError:  # a file system without locks
                return
            else:
                return

    def _port(self, number: int) -> int:
        """Return a free port for a server: the one that it had, or the next that is free."""
        with self._lock:
            wanted = self._ports.get(number, self.config.vllm.port + number)
            others = {port for other, port in self._ports.items() if other != number}
            port = next((at for at in range(wanted, _PORTS) if at not in others and self._is_free(at)), None)
            if port is None:
                raise TeacherError(f"teacher.vllm.port: no port from {wanted} on is free")
            if port != wanted:
                self._say(f"server {number}: port {wanted} is taken, so it listens at {port}")
            self._ports[number] = port
            return port

    def _is_free(self, port: int) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended are no hindrance
            try:
                probe.bind((self._bind, port))
            except OSError:
                return False
            return True

    def _choose_endpoints(self, folder: Path) -> Path:
        """Return the file of addresses.

        In a shared folder its name is what no other living server has: this machine, and a port that was free. So
        this start takes the place of a crashed one, whose addresses it has.
        """
        if self._register is None:
            return folder / "endpoints.txt"
        if self._register.exists() and not self._register.is_dir():
            raise ConfigError(
                f"{self._register}: is a file; name a folder, in which each machine has a file of its own"
            )
        return self._register.absolute() / f"{self._host}-{self._ports[0]}.txt"

    def _take_note(self) -> None:
        """Take note of a server that answers, or no longer does."""
        with self._news:
            try:
                self._publish()
            except StoreError as error:
                self._say(str(error))  # the servers are well; who asks them finds out by itself who is there
            self._news.notify_all()

    def _publish(self) -> None:
        if self.endpoints is None:
            raise AssertionError("addresses before the file for them")
        why = self.failure
        lines = [*self.urls, *([ENDED + why.splitlines()[0]] if why else [])]
        publish_file(self.endpoints, "".join(f"{line}\n" for line in lines))

    def _close(self) -> None:
        for server in self._servers:
            server.stop()
        for server in self._servers:
            server.wait()
        self._stack.close()

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk, or a pipe that nobody reads any more, is nothing to end for
            self._hear(line)

    def _tidy(self, folder: Path) -> None:
        """Remove a temporary folder, unless its logs tell of something that went wrong."""
        if not self._any_ended:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def serving(
    config: TeacherSection, folder: Path, say: Callable[[str], None] | None = None
) -> Iterator[TeacherSection]:
    """Start the servers of a teacher with ``engine: vllm``, and give the teacher that asks them.

    Args:
        config: The teacher; with another engine it is given as it is.
        folder: For logs and addresses, each teacher's own.
        say: See :class:`Servers`.

    Raises:
        TeacherError, StoreError: See :meth:`Servers.__enter__`.
    """
    if config.engine != "vllm":
        yield config
        return
    with Servers(config, folder, say=say) as servers:
        yield config.model_copy(update={"engine": "endpoint", "endpoints_file": servers.endpoints})
