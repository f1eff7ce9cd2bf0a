"""What a language model is asked: the prompts Q_v and Q_u.

Ren et al., "Representation Learning with Large Language Models for Recommendation" (RLMRec),
section 3.2: an item by its title and description or, without one, by its attributes and some
reviews (equation 13); a user by some of their items, each with title, generated profile and the
user's own review (equation 14).  The paper samples uniformly; here the sample is the interactions
whose digest with the seed comes first, so that it is the same in every run, for every order of the
file, and does not move when another interaction is added, unless that one belongs into it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_darec.profiles.domains import Domain
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.options import PromptOptions
from recbole_darec.profiles.reviews import all_reviews, read_reviews
from recbole_darec.profiles.words import article_first, first_words

__all__ = ["Prompt", "PromptOptions", "item_prompts", "user_prompts"]


@dataclass(frozen=True)
class Prompt:
    """One question.

    Attributes:
        kind: ``item`` or ``user``.
        id: whose profile is asked for.
        system: the instruction.
        text: what is known, as JSON.
        used: the training interactions that entered it.
    """

    kind: str
    id: str
    system: str
    text: str
    used: tuple[tuple[str, str], ...]

    def messages(self) -> list[dict[str, str]]:
        """Return the chat's messages."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.text},
        ]

    def key(self, model: str, temperature: float | None) -> str:
        """Return the key of the answer: another text, model or temperature is another question."""
        degrees = None if temperature is None else float(temperature)  # 0 is 0.0
        question = [model, degrees, self.messages()]
        return hashlib.sha256(json.dumps(question).encode()).hexdigest()


def item_prompts(
    material: Material, domain: Domain, options: PromptOptions
) -> tuple[list[Prompt], list[str]]:
    """Make the prompt of every item (equation 13).

    Returns:
        The prompts, and the items of which nothing is known: no title, attribute or review.
    """
    title = domain.column("title", material.items.columns)
    description = domain.column("description", material.items.columns)
    rows = material.items.rows
    unknown = {word.lower() for word in domain.columns.get("unknown", ("unknown",))}

    def cell(item: str, column: str | None) -> str:
        text = " ".join(rows.get(item, {}).get(column, "").split()) if column else ""
        return "" if text.lower() in unknown else text

    lacking = {item for item in material.items.ids if not cell(item, description)}
    reviews = _sampled_reviews(material, lacking, options)
    system = domain.instruction("item", options.max_words)
    prompts, nothing = [], []
    for item in material.items.ids:
        shown: dict[str, Any] = {"title": article_first(cell(item, title)) or None}
        used: tuple[tuple[str, str], ...] = ()
        if item not in lacking:
            shown["description"] = first_words(cell(item, description), options.text_words)
        else:
            others = (c for c in material.items.columns if c not in (title, description))
            attributes = {c: first_words(cell(item, c), options.text_words) for c in others}
            attributes = {name: text for name, text in attributes.items() if text}
            if attributes:
                shown["attributes"] = attributes
            sampled = reviews.get(item, [])
            if sampled:
                shown["reviews"] = [first_words(text, options.text_words) for _, text in sampled]
                used = tuple((user, item) for user, _ in sampled)
            if not any(shown.values()):
                nothing.append(item)
                continue
        prompts.append(Prompt("item", item, system, _json(shown), used))
    return prompts, nothing


def user_prompts(
    material: Material, domain: Domain, options: PromptOptions, item_profiles: Mapping[str, str]
) -> tuple[list[Prompt], list[str]]:
    """Make the prompt of every user (equation 14).

    Args:
        material: the data set.
        domain: instructions and columns.
        options: how much enters.
        item_profiles: item to its generated profile; an item without one is shown with its title.

    Returns:
        The prompts, and the users without a training interaction.
    """
    title = domain.column("title", material.items.columns)
    rows = material.items.rows
    history: dict[str, list[str]] = {}
    for user, item in material.pairs():
        history.setdefault(user, []).append(item)
    samples = {
        user: _sample(items, options.items_per_user, options.seed, "user", user)
        for user, items in history.items()
    }
    wanted = {(user, item): None for user, items in samples.items() for item in items}
    reviews = read_reviews(material.train, material.reviews_file, wanted)
    system = domain.instruction("user", options.max_words)
    prompts, nothing = [], []
    for user in material.users.ids:
        if user not in samples:
            nothing.append(user)
            continue
        shown = []
        for item in samples[user]:
            review = reviews.get((user, item))
            name = " ".join(rows.get(item, {}).get(title, "").split()) if title else ""
            shown.append(
                {
                    "title": article_first(name) or None,
                    "description": item_profiles.get(item),
                    "review": review and first_words(" ".join(review.split()), options.text_words),
                }
            )
        used = tuple((user, item) for item in samples[user])
        prompts.append(Prompt("user", user, system, _json(shown), used))
    return prompts, nothing


def _json(shown: Any) -> str:
    # A review may hold half of a surrogate pair, which no request can.
    return json.dumps(shown, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


def _rank(seed: int, kind: str, owner: str, other: str) -> bytes:
    """Return where ``other`` stands in the random order of its owner's interactions."""
    text = json.dumps([seed, kind, owner, other])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _sample(others: Iterable[str], size: int, seed: int, kind: str, owner: str) -> list[str]:
    """Return ``size`` of ``others``, uniformly and without replacement, in the order drawn."""
    return heapq.nsmallest(size, others, key=lambda other: _rank(seed, kind, owner, other))


def _sampled_reviews(
    material: Material, items: set[str], options: PromptOptions
) -> dict[str, list[tuple[str, str]]]:
    """Return for each item the sampled (user, review), in the order drawn.

    The reviews are read once and only the best-placed kept, so that memory holds the sample.
    """
    kept: dict[str, list[tuple[bytes, str, str]]] = {}
    if not options.reviews_per_item or not items:
        return {}
    for user, item, text in _reviews_of(material, items):
        places = kept.setdefault(item, [])
        place = (_rank(options.seed, "item", item, user), user, text)
        if len(places) < options.reviews_per_item or place < places[-1]:
            places.append(place)
            places.sort()
            del places[options.reviews_per_item :]
    return {item: [(user, text) for _, user, text in places] for item, places in kept.items()}


def _reviews_of(material: Material, items: set[str]) -> Iterator[tuple[str, str, str]]:
    seen: set[Sequence[str]] = set()
    for (user, item), text in all_reviews(material.train, material.reviews_file):
        if item in items and (user, item) not in seen:
            seen.add((user, item))
            yield user, item, " ".join(text.split())
