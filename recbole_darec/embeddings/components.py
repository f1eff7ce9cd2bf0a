"""Profile rows in their principal directions, fewer than columns, or whitened.

The first layer of most alignment methods reads all columns of E^L, 1536 of a usual encoder, where
128 principal directions hold most of what tells the rows apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from recbole_darec.embeddings.lookup import require_finite
from recbole_darec.embeddings.stored import digest_of
from recbole_darec.embeddings.table import EmbeddingTable
from recbole_darec.errors import OptionError

__all__ = ["WHITENINGS", "Components"]

WHITENINGS = ("none", "pca", "zca")

_MOST_ROWS = 65_536
_NO_SPREAD = 1e-5  # of the widest direction's deviation; what is below is rounding of float32


class Components:
    """What is made of a block of rows: centred, reduced, whitened; found when it is first asked.

    Mean and directions are those of all kinds' rows together: one encoder made them, and an
    aligner has one map for all.  Where these are more than 65,536, as many are drawn, by a
    generator of its own.

    Args:
        components: number of directions; None takes as many as there are columns, or rows.
        whiten: ``none``, ``pca`` (variance 1 in each direction) or ``zca`` (and turned back into
            the columns of the files).
        tables: of each kind.
        rows: rows of each kind's table that it is found on; -1 stands for none.

    Raises:
        OptionError: more components than columns or rows.
    """

    def __init__(
        self,
        components: int | None,
        whiten: str,
        tables: Mapping[str, EmbeddingTable],
        rows: Mapping[str, np.ndarray],
    ) -> None:
        self._whiten = whiten
        self._tables = tables
        self._rows = {kind: np.unique(found[found >= 0]) for kind, found in rows.items()}
        columns = next(iter(tables.values())).width
        n_rows = sum(found.size for found in self._rows.values())
        for limit, what in ((columns, "columns"), (n_rows, "rows of training ids")):
            if components is not None and components > limit:
                raise OptionError(
                    f"profile_components={components} is more than the {limit:,} {what} of the "
                    "profiles: give fewer, or leave it out"
                )
        self._count = components or min(columns, n_rows)
        self.width = columns if whiten == "zca" else self._count

    def key(self) -> dict[str, Any]:
        """Return what the result depends on, beside the files."""
        return {
            "count": self._count,
            "whiten": self._whiten,
            "rows": {kind: digest_of(rows) for kind, rows in self._rows.items()},
        }

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Return float32 ``[b, width]`` of rows ``[b, columns]``.

        Raises:
            EmbeddingError: a row that the directions are found on holds NaN or infinity.
            OptionError: the rows spread in too few directions to be whitened, or their numbers
                are too large.
        """
        fitted = self._fitted
        with np.errstate(all="ignore"):
            changed: np.ndarray = fitted.transform(block.astype(np.float32))
            if self._whiten == "zca":
                changed = changed @ fitted.components_
        if not np.isfinite(changed).all():
            raise _too_large()
        return changed

    @cached_property
    def _fitted(self) -> Any:
        from sklearn.decomposition import PCA

        sample = self._sample()
        # The exact decomposition is quicker where nearly all directions are wanted.
        few = self._count < 0.8 * min(sample.shape)
        with np.errstate(all="ignore"):  # the share of no variance at all
            try:
                fitted = PCA(
                    self._count,
                    whiten=self._whiten != "none",
                    svd_solver="randomized" if few else "full",
                    random_state=0,
                ).fit(sample)
            except ValueError:  # infinity on the way
                raise _too_large() from None
        if self._whiten != "none":
            self._require_spread(np.sqrt(fitted.explained_variance_))
        return fitted

    def _sample(self) -> np.ndarray:
        sizes = [rows.size for rows in self._rows.values()]
        drawn = np.arange(sum(sizes))
        if drawn.size > _MOST_ROWS:
            rng = np.random.Generator(np.random.PCG64(0))
            drawn = np.sort(rng.choice(drawn.size, _MOST_ROWS, replace=False))
        parts = []
        for (kind, rows), start in zip(self._rows.items(), np.cumsum([0, *sizes[:-1]])):
            table = self._tables[kind]
            chosen = rows[drawn[(drawn >= start) & (drawn < start + rows.size)] - start]
            part = table.take(chosen).astype(np.float32)
            require_finite(part, [str(table.tokens[row]) for row in chosen], kind, table)
            parts.append(part)
        return np.concatenate(parts)

    def _require_spread(self, deviations: np.ndarray) -> None:
        if not np.isfinite(deviations).all():
            raise _too_large()
        spread = int((deviations > _NO_SPREAD * deviations.max()).sum())
        if spread == len(deviations):
            return
        way_out = "leave it out"
        if spread:
            pca = "profile_whiten=pca with " if self._whiten == "zca" else ""
            way_out = f"take {pca}profile_components={spread} or fewer"
        raise OptionError(
            f"profile_whiten={self._whiten}: the profiles of the training ids differ in {spread:,} "
            f"of {len(deviations):,} directions, and the others would be divided by zero: {way_out}"
        )


def _too_large() -> OptionError:
    return OptionError(
        "profile_components and profile_whiten: the profiles hold numbers that are too large to be "
        "squared in float32: scale them, or leave both out"
    )
