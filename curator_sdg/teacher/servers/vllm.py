"""A teacher on GPUs of our own: it starts its servers when it is opened, and they end with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from curator_sdg.config import TeacherSection
from curator_sdg.errors import SdgError, TeacherError
from curator_sdg.teacher.base import Answer, Request
from curator_sdg.teacher.dispatch.places import Place, Places
from curator_sdg.teacher.endpoint.endpoint import EndpointTeacher
from curator_sdg.teacher.servers.supervisor import Servers


class VllmTeacher:
    """``vllm serve`` on this machine, one server a group of GPUs, asked as any endpoint is.

    For stages in a pipeline of one's own. A run starts the servers itself, before its workers
    (:func:`curator_sdg.teacher.servers.serving`), so that they outlive a worker.

    Args:
        config: The ``teacher`` section.
    """

    def __init__(self, config: TeacherSection) -> None:
        self._config = config
        self._servers = Servers(config)
        self._starting: asyncio.Future[Servers] | None = None
        self._endpoints: EndpointTeacher | None = None

    async def open(self, places: Places) -> None:
        """Start the servers, wait until they answer, and add their addresses.

        Raises:
            TeacherError: If they cannot be started or used; see :meth:`Servers.__enter__`.
        """
        self._starting = asyncio.ensure_future(asyncio.to_thread(self._servers.__enter__))
        await asyncio.shield(self._starting)  # who is no longer waited for is still to be ended
        served = self._config.model_copy(update={"engine": "endpoint", "endpoints_file": self._servers.endpoints})
        self._endpoints = EndpointTeacher(served)
        await self._endpoints.open(places)

    async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
        """Ask once; see :meth:`EndpointTeacher.ask`.

        Raises:
            TeacherError: If a server rejects everything.
        """
        if self._endpoints is None:
            raise TeacherError("the teacher was asked before it was opened")
        return await self._endpoints.ask(requests, place)

    async def close(self) -> None:
        """Close all connections and end the servers."""
        if self._endpoints is not None:
            await self._endpoints.close()
            self._endpoints = None
        if self._starting is None:
            return
        self._servers.stop()
        starting, self._starting = self._starting, None
        with contextlib.suppress(SdgError):  # whoever opened the teacher knows of it
            servers = await starting
            await asyncio.to_thread(servers.__exit__, None, None, None)
