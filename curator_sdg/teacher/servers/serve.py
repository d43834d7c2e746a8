"""Servers on one machine for runs on others: started, registered, and ended when nobody wants them any more."""

from __future__ import annotations

import difflib
import socket
from collections.abc import Callable
from pathlib import Path

from curator_sdg.config import Config, TeacherSection
from curator_sdg.errors import ConfigError, TeacherError
from curator_sdg.teacher.servers.supervisor import Servers


def serve(
    config: Config,
    *,
    teacher: str | None = None,
    register: Path | None = None,
    host: str | None = None,
    logs: Path | None = None,
    say: Callable[[str], None],
) -> None:
    """Start the servers of a teacher and keep them, until this is interrupted.

    Args:
        config: The run's configuration. The teacher's engine is ``vllm``, or ``endpoint`` where the run itself is to
            find these servers by ``endpoints_file``.
        teacher: A name of ``teachers``; null: ``teacher``.
        register: A folder that all machines share, for the addresses; null: the teacher's ``endpoints_file``, if any.
        host: The name by which other machines reach this one; null: its full name.
        logs: A folder for the servers' logs; null: one of this machine's own, within ``register`` or ``servers``.
        say: Is told what happens.

    Raises:
        ConfigError: If there is no such teacher, it has no servers to start, or the host's name is unknown.
        TeacherError: If the servers cannot be started, or none is left.
    """
    section = _section(config, teacher)
    register = register or section.endpoints_file
    host = host or _own_name()
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise ConfigError(
            f"--host: the name {host!r} cannot be resolved ({error}); name one by which others reach this machine"
        ) from None
    if logs is None:
        logs = (register or Path("servers")) / "logs" / f"{teacher or 'teacher'}-{host}"
    with Servers(section, logs, register=register, host=host, say=say) as servers:
        where = f"registered in {servers.endpoints}" if register else "registered nowhere, see --register"
        say(f"{len(servers.urls)} of {section.model} at work, {where}; Ctrl-C ends them")
        if (why := servers.wait()) is not None:
            raise TeacherError(why)


def _own_name() -> str:
    """Return this machine's name; where its full name is only what it calls itself, the short one."""
    name = socket.getfqdn()
    return socket.gethostname() if name.startswith("localhost") else name


def _section(config: Config, name: str | None) -> TeacherSection:
    if name is None:
        section, key = config.teacher, "teacher"
    elif name in config.teachers:
        section, key = config.teachers[name], f"teachers.{name}"
    else:
        near = difflib.get_close_matches(name, config.teachers, n=1, cutoff=0.5)
        known = ", ".join(config.teachers) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"`teachers` has {known}"
        raise ConfigError(f"--teacher: there is no teacher {name!r}; {hint}")
    if section.engine == "recorded":
        raise ConfigError(f"{key}.engine: a recording needs no servers; set engine to vllm, or to endpoint")
    return section
