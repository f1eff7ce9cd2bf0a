"""Small changes to a text of a catalogue."""

from __future__ import annotations

import re

__all__ = ["article_first", "first_words"]

# The articles that catalogues put behind the title.  A list, since "Paris, Texas" must stay.
_ARTICLE_LAST = re.compile(
    r"^(?P<title>.+), (?P<article>The|A|An|Il|La|Le|Les|L'|El|Los|Las|Der|Die|Das)"
    r"(?P<rest> \(.*)?$"
)


def article_first(title: str) -> str:
    """Return ``"Usual Suspects, The"`` as ``"The Usual Suspects"``; other titles as they are."""
    match = _ARTICLE_LAST.match(title)
    if match is None:
        return title
    article = match["article"]
    gap = "" if article.endswith("'") else " "
    return f"{article}{gap}{match['title']}{match['rest'] or ''}"


def first_words(text: str, limit: int) -> str:
    """Return the first ``limit`` words, with an ellipsis where there were more."""
    words = text.split()
    return text if len(words) <= limit else " ".join(words[:limit]) + " …"
