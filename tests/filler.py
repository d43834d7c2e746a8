"""Deterministic content that conforms to a JSON schema: the test endpoint's default maker of replies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

_SYLLABLES = ("ba", "do", "fi", "ga", "ke", "lu", "mi", "no", "pe", "ra", "si", "ta", "vo", "wu", "ze", "sha")


class Draw:
    """Numbers and words that depend on a name alone; ``at`` derives an independent one."""

    def __init__(self, *name: object) -> None:
        self.name = tuple(str(part) for part in name)
        self.bits = int.from_bytes(hashlib.blake2b("\0".join(self.name).encode(), digest_size=16).digest())

    def at(self, *part: object) -> Draw:
        return Draw(*self.name, *part)

    def index(self, n: int) -> int:
        return self.bits % n

    @property
    def unit(self) -> float:
        """In [0, 1)."""
        return (self.bits >> 64) / 2**64

    def word(self) -> str:
        digits = self.bits
        letters = []
        for _ in range(2 + self.index(3)):
            digits, digit = divmod(digits, len(_SYLLABLES))
            letters.append(_SYLLABLES[digit])
        return "".join(letters)

    def sentence(self, words: int | None = None) -> str:
        n = words or 6 + self.index(9)
        text = " ".join(self.at("word", i).word() for i in range(n))
        return text[0].upper() + text[1:] + "."


def wanted_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the JSON schema that a request asks for: by response_format, or by vLLM's structured_outputs."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema: dict[str, Any] = wanted["json_schema"]["schema"]
        return schema
    return (body.get("structured_outputs") or {}).get("json")


def fill(schema: dict[str, Any], draw: Draw, root: dict[str, Any] | None = None) -> Any:
    """Return a value that ``schema`` admits; the same for the same ``draw``."""
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return fill(target, draw, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][draw.index(len(schema["enum"]))]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            choices = [choice for choice in schema[union] if choice.get("type") != "null"] or schema[union]
            return fill(choices[draw.index(len(choices))], draw.at(union), root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    return _FILLERS[kind](schema, draw, root)


def _object(schema: dict[str, Any], draw: Draw, root: dict[str, Any]) -> Any:
    return {name: fill(part, draw.at(name), root) for name, part in schema.get("properties", {}).items()}


def _array(schema: dict[str, Any], draw: Draw, root: dict[str, Any]) -> Any:
    n = min(max(4, schema.get("minItems", 0)), schema.get("maxItems", 4 + schema.get("minItems", 0)))
    items: list[Any] = []
    for i in range(8 * n):  # distinct where the items' schema admits it
        item = fill(schema.get("items", {"type": "string"}), draw.at("item", i), root)
        if item not in items:
            items.append(item)
        if len(items) == n:
            break
    while len(items) < schema.get("minItems", 0):
        items.append(fill(schema.get("items", {"type": "string"}), draw.at("more", len(items)), root))
    return items


def _number(schema: dict[str, Any], draw: Draw, root: dict[str, Any]) -> Any:
    low = schema.get("minimum", min(0, schema.get("maximum", 0)))
    return low + draw.index(int(min(100, schema.get("maximum", low + 100) - low)) + 1)


def _string(schema: dict[str, Any], draw: Draw, root: dict[str, Any]) -> Any:
    text = draw.sentence()
    while len(text) < schema.get("minLength", 0):
        text += " " + draw.at(len(text)).sentence()
    return text[: schema.get("maxLength")]


_FILLERS: dict[str, Callable[[dict[str, Any], Draw, dict[str, Any]], Any]] = {
    "object": _object,
    "array": _array,
    "integer": _number,
    "number": _number,
    "string": _string,
    "boolean": lambda schema, draw, root: bool(draw.index(2)),
    "null": lambda schema, draw, root: None,
}
