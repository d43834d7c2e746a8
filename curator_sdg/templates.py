"""Jinja templates of the same blocks each: ours, some of them perhaps replaced by the user's own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2

from curator_sdg.errors import ConfigError
from curator_sdg.identity import stable_hash, tidy

# What an expression of the user's in a template can raise.
_FAULTS = (jinja2.TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


class BlockTemplates:
    """A folder of templates, every one of them with the same blocks; names that begin with ``_`` are parts.

    Args:
        where: The configuration's key, for errors: ``generate.prompts``.
        shipped: The folder of our templates.
        blocks: The blocks that each template must have.
        override: A folder whose files replace those of the same name.

    Raises:
        ConfigError: If ``override`` is missing, holds a file that replaces none, or one that is no such template.
    """

    def __init__(self, where: str, shipped: Path, blocks: tuple[str, ...], override: Path | None = None) -> None:
        self._state = (where, shipped, blocks, override)
        self._where, self._blocks = where, blocks
        self._names = sorted(path.name for path in shipped.glob("*.j2"))
        folders = [shipped]
        if override is not None:
            if not override.is_dir():
                raise ConfigError(f"{where}: {override.absolute()} is no folder")
            own = sorted(path.name for path in override.glob("*.j2"))
            if unknown := sorted(set(own) - set(self._names)):
                known = ", ".join(self._names)
                raise ConfigError(f"{where}: {override / unknown[0]} replaces no template; known: {known}")
            folders.insert(0, override)
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,  # of an included part
            autoescape=False,  # noqa: S701 - plain text, no markup
        )
        for name in self._names:
            self._check(name)

    def _check(self, name: str) -> None:
        try:
            template = self._environment.get_template(name)
        except jinja2.TemplateError as error:
            raise ConfigError(f"{self._where}: {name}: {error}") from None
        missing = [block for block in self._blocks if block not in template.blocks]
        if missing and not name.startswith("_"):
            raise ConfigError(
                f"{self._where}: {name} has no block {missing[0]!r}; it needs {' and '.join(self._blocks)}"
            )

    def render(self, name: str, **variables: Any) -> tuple[str, ...]:
        """Return the blocks of a template, tidied.

        Raises:
            ConfigError: If it cannot be rendered; naming the file and what is wrong.
        """
        try:
            template = self._environment.get_template(f"{name}.j2")
            context = template.new_context(variables)
            return tuple(tidy("".join(template.blocks[block](context))) for block in self._blocks)
        except _FAULTS as error:
            raise ConfigError(f"{self._where}: {name}.j2: {type(error).__name__}: {error}") from None

    @cached_property
    def hash(self) -> str:
        """A digest of every template as it is used, for the step's fingerprint."""
        loader = self._environment.loader
        assert loader is not None
        return stable_hash([[name, loader.get_source(self._environment, name)[0]] for name in self._names])

    def __getstate__(self) -> tuple[Any, ...]:
        # Compiled templates do not pickle; a worker compiles its own.
        return self._state

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        BlockTemplates.__init__(self, *state)
