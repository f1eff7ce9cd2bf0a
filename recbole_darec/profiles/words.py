"""Small changes to a text of a catalogue."""

from __future__ import annotations

import re

__all__ = ["article_first", "first_words", "plural", "with_article"]

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


# Nouns of catalogues that no rule gets right.
_PLURALS = {
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "life": "lives",
    "knife": "knives",
    "shelf": "shelves",
    "hero": "heroes",
    "potato": "potatoes",
    "quiz": "quizzes",
    **dict.fromkeys(["news", "series", "species", "music", "software", "anime", "manga"], ""),
}
# Where the first letter does not say how the word begins to be spoken.
_VOWEL = re.compile(
    r"(?:hour|honest|heir)|(?!uni|use|usu|uti|euro|one\b|once\b|ewe)[aeiou]", re.IGNORECASE
)


def plural(noun: str) -> str:
    """Return the plural of a noun, of which the last word counts: ``"board game"``, ``"dish"``."""
    before, gap, last = noun.rpartition(" ")
    low = last.lower()
    if low in _PLURALS:
        return before + gap + (_PLURALS[low] or last)
    if re.search("[^aeiou]y$", low):
        return f"{before}{gap}{last[:-1]}ies"
    return f"{before}{gap}{last}{'es' if re.search('(?:s|x|z|ch|sh)$', low) else 's'}"


def with_article(noun: str) -> str:
    """Return ``"a user"``, ``"an item"``, ``"an hour"`` with a capital, as a sentence begins."""
    return f"{'An' if _VOWEL.match(noun) else 'A'} {noun}"
