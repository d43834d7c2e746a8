"""Makers of replies for the test endpoint: the request's own body as it came, and what a terminal obeys."""

from __future__ import annotations

import json
from typing import Any

from tests.filler import Draw


def echoed_body(body: dict[str, Any], draw: Draw) -> str:
    return json.dumps(body)


def escapes(body: dict[str, Any], draw: Draw) -> str:
    """What clears a terminal, rings its bell and turns its text round."""
    return "\x1b[2Jno JSON\x07 \u202e"
