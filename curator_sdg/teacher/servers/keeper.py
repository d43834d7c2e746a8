"""Runs a server that must not outlive the process that started it, not even a killed one.

A script of its own, started by path and with nothing but the standard library, so that it is there at once:
``python keeper.py --parent PID --grace SECONDS -- COMMAND ...``. Its standard input is a pipe whose other end only
the parent holds; whatever becomes of the parent, the pipe closes. Then, and when it is terminated itself, and when the
server ends by itself, all processes of the server go: SIGTERM, and SIGKILL after the grace. vLLM's engines are
children of the server that hold the GPU's memory, so the next start of a server needs them gone.

The exit status is the server's, or 128 and the signal's number where a signal ended it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_EVERY_S = 0.2
_KILL_S = 10.0  # until killed processes must be gone
# linux/prctl.h: be told to end when the parent does; be the parent of descendants that lose theirs.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class _Keeper:
    """One server and all processes that descend from it."""

    def __init__(self, parent: int, grace_s: float) -> None:
        self._parent = parent
        self._grace_s = grace_s
        self._told = False  # to end
        self._server = 0  # its process, and its process group
        self._status: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def keep(self, command: list[str]) -> int:
        """Run ``command`` until it or the parent ends, and return its exit status."""
        try:
            # Held on to, or it would itself take leave of a server that ended at once, and keep the status. There are
            # no threads here, so code may run between fork and exec: should the keeper be killed, the kernel tells
            # the server to end.
            server = subprocess.Popen(  # noqa: S603 - the command is the configuration's
                command,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509
            )
        except OSError as error:
            print(f"{command[0]} cannot be started: {error.strerror}", flush=True)
            return 127
        self._server = server.pid
        while self._any_left() and self._status is None and not self._orphaned():
            pass
        # A server that ended by itself leaves nothing behind that would end in good order.
        if self._status is None:
            self._signal(signal.SIGTERM)
            self._wait(self._grace_s)
        end = time.monotonic() + _KILL_S
        while self._any_left() and time.monotonic() < end:
            self._signal(signal.SIGKILL)
            self._wait(0.1)
        return 128 + signal.SIGKILL if self._status is None else self._status

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's signature
        self._told = True

    def _orphaned(self) -> bool:
        """Wait a moment, and return whether the server has lost the process that wants it.

        The pipe tells at once; a process that the parent forked may hold it open, so the parent itself is asked, too.
        """
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], _EVERY_S)
        closed = bool(readable) and not os.read(sys.stdin.fileno(), 1)
        return closed or self._told or os.getppid() != self._parent

    def _any_left(self) -> bool:
        """Take leave of processes that ended, and return whether any is left."""
        with contextlib.suppress(ChildProcessError):  # none left
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._server:
                    code = os.waitstatus_to_exitcode(ended[1])
                    self._status = 128 - code if code < 0 else code
            return True
        return False

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._any_left() and time.monotonic() < end:
            time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's group, and to descendants that left it and lost their parents."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server, number)
        with contextlib.suppress(OSError):  # another system than Linux
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def main() -> None:
    """Keep the server that the command line names."""
    parser = argparse.ArgumentParser(description="Run a server that ends with its parent.")
    parser.add_argument("--parent", type=int, required=True, help="the process that the server is for")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    sys.exit(_Keeper(arguments.parent, arguments.grace).keep(command))


if __name__ == "__main__":
    main()
