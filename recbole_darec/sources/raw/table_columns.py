"""Many rows of a Parquet file at once, as columns, as :mod:`.json_columns` reads JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_darec.sources.raw.columns import Block
from recbole_darec.sources.raw.json_columns import JsonForm, interactions_of, texts_of
from recbole_darec.sources.raw.lines import LineFault

__all__ = ["TableColumns"]


@dataclass(frozen=True)
class TableColumns:
    """Reads rows whose columns are named as the keys of some forms are.

    Attributes:
        forms: rows have the first whose columns are all there.
    """

    forms: Sequence[JsonForm]

    @property
    def fields(self) -> set[str]:
        """What a row without its texts is read from, and told to have its form by."""
        found: set[str] = set()
        for form in self.forms:
            found.update(form.ids_and_numbers, form.absent)
        return found

    def read_table(self, rows: Any, reviews: bool = False) -> Block | None:
        """Read a ``pyarrow.RecordBatch``; None where a row must be looked at by itself.

        Args:
            rows: with the columns that the file has, the texts or all but these.
            reviews: whether the texts are wanted, too.
        """
        import pyarrow as pa

        names = set(rows.schema.names)
        form = next((form for form in self.forms if form.is_of(names)), None)
        if form is None or not len(rows):
            return None
        texts = [name for name in form.reviews if name in names] if reviews else []
        table = _as_declared(rows.select([*form.ids_and_numbers, *texts]), form, texts)
        try:
            found = None if table is None else interactions_of(table, form, crlf=False)
            if found is None or not reviews:
                return found
            return found._replace(reviews=texts_of(table, texts))
        except (LineFault, UnicodeDecodeError, pa.ArrowException):
            return None


def _as_declared(rows: Any, form: JsonForm, texts: Sequence[str]) -> Any:
    """Return rows as a table of the types that JSON is read as, None where theirs are others."""
    import pyarrow as pa

    of_texts = {form.user, form.item, *texts, *([] if form.date is None else [form.time])}
    columns = []
    for name, column in zip(rows.schema.names, rows.columns):
        kind = column.type
        if name in of_texts:
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                return None
            columns.append(column.cast(pa.string()))
        elif column.null_count or not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            return None
        else:
            columns.append(pa.array(column.to_numpy().astype(np.float64)))
    return pa.table(columns, names=rows.schema.names)
