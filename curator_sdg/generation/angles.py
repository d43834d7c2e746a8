"""Angles: what a teacher is told to look at when it writes a new item, drawn so that siblings get different ones.

Teachers left to themselves fall into the same few topics, most of all when asked twice about one seed.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from curator_sdg.errors import ConfigError
from curator_sdg.identity import seeded_permutation, stable_hash
from curator_sdg.records import SEED, Record

NAME = "angles.yaml"


class Entry(BaseModel):
    """The angles of some seeds.

    Attributes:
        fits: Which seeds: a field's name, and its value or a list of them; all fields must agree.
        draw: Lists of phrases; an angle takes one of each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    fits: dict[str, str | list[str]] = Field(alias="for")
    draw: list[list[str]]

    @field_validator("fits")
    @classmethod
    def _fields_of_seeds(cls, fits: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        if unknown := sorted(fits.keys() - set(SEED.names)):
            raise ValueError(f"{unknown[0]!r} is no field of a seed")
        return fits

    def takes(self, seed: Record) -> bool:
        """Whether the entry is for ``seed``."""
        return all(
            seed.get(name) == value if isinstance(value, str) else seed.get(name) in value
            for name, value in self.fits.items()
        )


_ENTRIES = TypeAdapter(list[Entry])


class Angles:
    """The angles of one file.

    Attributes:
        digest: Of all that angles are drawn from, for the step's fingerprint.

    Args:
        path: A YAML list of entries; see the comment at the top of ours.
        where: The configuration's key, for errors.

    Raises:
        ConfigError: If the file is no such list.
    """

    def __init__(self, path: Path, where: str) -> None:
        try:
            self._entries = _ENTRIES.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{where}: {path}: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"]) or "the whole"
            wrong = first["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"{where}: {path}: {at}: {wrong}; it is a list of entries, each with `for` (a seed's fields and their "
                "values) and `draw` (lists of phrases)"
            ) from None
        self.digest = stable_hash([entry.model_dump() for entry in self._entries])

    def angle(self, record: Record, seed: int, sample: int) -> str:
        """Return the angle of one new item, empty where there is none for such seeds.

        Of every list, sample ``i`` takes the ``i``-th phrase of a permutation that depends on ``seed`` and the
        record alone, so that siblings differ until a list is used up.

        Args:
            record: The seed that the item is written after.
            seed: The run's, for drawn choices.
            sample: Which of the items after this seed.
        """
        lists = next((entry.draw for entry in self._entries if entry.takes(record)), [])
        drawn = []
        for number, phrases in enumerate(filter(None, lists)):
            order = seeded_permutation(len(phrases), seed, "angle", record["seed_id"], number)
            drawn.append(phrases[order[sample % len(order)]])
        return "; ".join(drawn)
