"""Reading a configuration, with errors that name the key and the nearest right name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from curator_sdg.config.run import Config
from curator_sdg.errors import ConfigError


def load(path: Path, overrides: list[str] | None = None) -> Config:
    """Read and validate ``path``; each override is ``dotted.key=value`` with a YAML value.

    Raises:
        ConfigError: Naming the file, the dotted key, what was expected and the nearest right name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping with the sections {', '.join(Config.model_fields)}")
    # What a run adds to its own run.yaml, so that this can be run from, too.
    data = {key: value for key, value in data.items() if key not in ("versions", "fingerprints", "depends", "until")}
    for override in overrides or []:
        _override(data, override)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None


def _override(data: dict[str, Any], override: str) -> None:
    """Set one dotted key in ``data``."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: must be dotted.key=value")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None
    parts = key.split(".")
    node: Any = data
    for depth, part in enumerate(parts):
        place, last = ".".join(parts[:depth]), depth == len(parts) - 1
        at: str | int = part
        if isinstance(node, list):
            if not part.isdecimal() or int(part) >= len(node):
                raise ConfigError(
                    f"--set {override}: {place} is a list of {len(node)}; name an entry by its number, from 0"
                )
            at = int(part)
        elif not isinstance(node, dict):
            raise ConfigError(f"--set {override}: {place} has no keys of its own; it is {node!r}")
        elif not last and node.get(part) is None:
            if parts[depth + 1].isdecimal():
                name = ".".join(parts[: depth + 1])
                raise ConfigError(
                    f"--set {override}: the file has no list {name}; an entry of the default cannot be changed alone, "
                    f"give the whole list: --set '{name}=[...]'"
                )
            node[part] = {}
        if last:
            node[at] = parsed
        else:
            node = node[at]


def _explain(path: Path, error: ValidationError) -> str:
    """One line a mistake, in the user's own terms."""
    lines = []
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and any(
            item["loc"] == other["loc"][: len(item["loc"])] != other["loc"] for other in found
        ):
            continue  # pydantic counts a wrong entry as a missing one, too
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _known_keys(item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            lines.append(f"{path}: {where}: unknown key; {hint}")
        else:
            message = _plainly(item["type"], item.get("ctx", {})) or item["msg"].removeprefix("Value error, ")
            got = "" if item["type"] in ("missing", "value_error", "too_short") else f" (got {item['input']!r})"
            prefix = f"{path}: {where}" if where else f"{path}"
            lines.append(f"{prefix}: {message[0].lower()}{message[1:]}{got}")
    return "\n".join(lines)


def _plainly(kind: str, context: Mapping[str, Any]) -> str | None:
    """Return a mistake in YAML's terms where pydantic would speak of Python's types."""
    if kind == "too_short":
        least = context["min_length"]
        return f"needs at least {least} {'entry' if least == 1 else 'entries'}"
    expected = {
        "tuple_type": "a list",
        "list_type": "a list",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
        "dict_type": "a mapping",
        "path_type": "a path",
    }.get(kind)
    return expected and f"must be {expected}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the right keys of the section at ``location``."""
    model: type[BaseModel] = Config
    by_name = False  # the part names an entry of a mapping
    for part in location:
        if isinstance(part, int) or by_name:
            by_name = False
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        by_name = getattr(annotation, "__origin__", None) is dict
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
