"""The split policy: nothing but catalogued training splits is ever read.

Everything not named is denied, so that a typo, a renamed split or a task that evaluates on a split called
``train`` cannot leak held-out data into seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from curator_sdg.errors import SplitDenied

Rows = TypeVar("Rows")


class SplitPolicy:
    """The (dataset_path, dataset_name, split) triples that may be read."""

    def __init__(self, allowed: Iterable[tuple[str, str | None, str]]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, dataset_path: str, dataset_name: str | None, split: str) -> None:
        """Pass if the split is catalogued.

        Raises:
            SplitDenied: If it is not.
        """
        if (dataset_path, dataset_name, split) in self._allowed:
            return
        known = sorted(s for path, name, s in self._allowed if (path, name) == (dataset_path, dataset_name))
        allowed = (
            f"of this dataset only {', '.join(known)} is catalogued" if known else "the dataset is not catalogued"
        )
        name = f" ({dataset_name})" if dataset_name else ""
        raise SplitDenied(f"{dataset_path}{name}: split {split!r} may not be read: {allowed}")


class TrainingSplit(Mapping[str, Rows], Generic[Rows]):
    """What a ``DatasetDict`` would be, but it holds one split and answers no other name.

    lm-eval's task objects look splits up by name; given this, the wrong one fails loudly instead of loading.
    """

    def __init__(self, split: str, rows: Rows) -> None:
        self.split = split
        self._rows = rows

    def __getitem__(self, key: str) -> Rows:
        if key != self.split:
            raise SplitDenied(f"split {key!r} may not be read: only {self.split!r} is open")
        return self._rows

    def __contains__(self, key: object) -> bool:
        return key == self.split

    def __iter__(self) -> Iterator[str]:
        return iter((self.split,))

    def __len__(self) -> int:
        return 1
