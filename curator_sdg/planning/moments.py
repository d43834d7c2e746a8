"""What a pilot says about a task's seeds: how many there were, and the mean and spread of each figure of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]  # a figure each


@dataclass(frozen=True)
class Moments:
    """Sums over a task's piloted seeds.

    Attributes:
        n: Seeds.
        sums: Of each figure, shape (figures,).
        products: Of each figure with each, shape (figures, figures).
    """

    n: int
    sums: Vector
    products: Vector

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]] | Vector, figures: int) -> Moments:
        """Return those of some seeds: shape (seeds, figures)."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, figures)
        return cls(len(table), table.sum(axis=0), table.T @ table)

    def plus(self, other: Moments) -> Moments:
        """Return those of both."""
        return Moments(self.n + other.n, self.sums + other.sums, self.products + other.products)

    @property
    def mean(self) -> Vector:
        """Of each figure; zero without seeds."""
        return self.sums / max(self.n, 1)

    @property
    def scatter(self) -> Vector:
        """Sums of squared deviations from the mean, and of their products; shape (figures, figures)."""
        scatter: Vector = self.products - np.outer(self.sums, self.mean)
        # Rounding must not make a spread negative where there is none.
        return np.where(np.abs(scatter) < 1e-9 * np.maximum(np.abs(self.products), 1e-300), 0.0, scatter)
