"""Ids that are meant to be the same and are written in two forms."""

from __future__ import annotations

import re
from collections.abc import Iterable

from recbole_darec.errors import DataError

__all__ = ["check_same_form"]

_FLOAT_FORM = re.compile(r"([+-]?\d+)\.0+")


def check_same_form(
    known: Iterable[str], given: Iterable[str], kind: str, where: str, what: str
) -> None:
    """Refuse ids that differ only by blanks around them, or by the form of a number.

    Args:
        known: ids of the interactions.
        given: ids of the profiles or embeddings.
        kind: ``"user"`` or ``"item"``, for the message.
        where: what holds the interactions.
        what: ``"profiles"`` or ``"embeddings"``.

    Raises:
        DataError: an id of the interactions has none, and has one in the other form.
    """
    there = set(given)
    if not there:
        return
    forms = {_plain(token): token for token in there}
    pairs = [
        (token, forms[_plain(token)])
        for token in known
        if token not in there and _plain(token) in forms
    ]
    if pairs:
        here, other = pairs[0]
        raise DataError(
            f"{len(pairs):,} {kind}s have their {what} under another form of their id: '{here}' in "
            f"{where}, '{other}' among the {what}; write both alike"
        )


def _plain(token: str) -> str:
    """Return an id without blanks around it, and a whole number without its ``.0``."""
    stripped = token.strip()
    found = _FLOAT_FORM.fullmatch(stripped)
    return found[1] if found else stripped
