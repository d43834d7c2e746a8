"""What a dispatcher asks: the interface of every teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from curator_sdg.teacher.base import Answer, Request
from curator_sdg.teacher.dispatch.places import Place, Places


class Teacher(Protocol):
    """What can be asked, from one event loop; when, where and how often is the dispatcher's business.

    An implementation is opened and closed on that loop, and what it says does not depend on the order of requests.
    """

    async def open(self, places: Places) -> None:
        """Check that the teacher can be reached and used, and add every place where it can be asked.

        Args:
            places: None yet. It may be kept: places may join and leave as long as the teacher is open.

        Raises:
            TeacherError: When it cannot be used at all (wrong key, no such model, no such file).
        """

    async def ask(self, requests: Sequence[Request], place: Place) -> Answer:
        """Ask once.

        Args:
            requests: At least one; several differ in their ``sample`` alone, and may be asked as one.
            place: One of those it has added, or had added before it was removed.

        Returns:
            The replies and refusals that came, under the requests' keys; of several requests, those that are missing
            are asked again one by one. Or the trouble that hit them all.

        Raises:
            TeacherError: When it is clear that no request will ever succeed.
        """

    async def close(self) -> None:
        """Let go of connections and files."""
