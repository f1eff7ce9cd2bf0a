"""The weights of a filter's pieces."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["TEXT_PIECES", "FilterWeights"]

TEXT_PIECES = ("text", "match", "user_text")
"""The weights of pieces that read profiles."""


@dataclass(frozen=True)
class FilterWeights:
    """The weights of the pieces of a filter.

    Attributes:
        two_hops: c, of Y P² beside Y P.
        text: t, of Y T beside Y P.
        popularity: p; each item's sum of the three is multiplied by its degree to this power.
        match: h, of the cosine of a user's and an item's profile.
        user_text: g, of the sums of the user's profile neighbours.
        item_exponent: of the items' degrees in Y.
        low_pass: l, of the ideal low pass.
        low_pass_width: leading singular vectors that it lets through; a whole number.
        recency: r; where the order counts, an item of a user's is worth ``(1 - r)^a``, a the places
            from it to the last one.
    """

    two_hops: float = 0.0
    text: float = 0.0
    popularity: float = 0.0
    match: float = 0.0
    user_text: float = 0.0
    item_exponent: float = 0.3
    low_pass: float = 0.0
    low_pass_width: float = 64.0
    recency: float = 0.0

    @property
    def reads_items(self) -> bool:
        """Whether an item's profile has a weight, so that one without interactions can score."""
        return bool(self.text or self.match)

    def without_text(self) -> FilterWeights:
        """Return the control: the same filter with t = h = g = 0."""
        return replace(self, text=0.0, match=0.0, user_text=0.0)
