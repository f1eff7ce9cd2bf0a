"""Options of the text filter, for the aligner and for the model; no torch."""

from __future__ import annotations

from recbole_darec.settings.options import Options, option

__all__ = ["OF_USER_PROFILES", "FilterOptions"]

# The weights of what reads user profiles.  These may be written from the very training items that
# the weights are found on, and seem better there than they are.
OF_USER_PROFILES = ("match", "user_text")


class FilterOptions(Options):
    """The pieces of the filter; a weight of null is found within the training part."""

    filter_two_hops: float | None = option(
        None, "Weight c of co-occurrence over two steps, beside that over one.", low=0.0
    )
    filter_text: float | None = option(
        None, "Weight t of the items' profile neighbours, beside co-occurrence.", low=0.0
    )
    filter_popularity: float | None = option(
        None, "Exponent p of an item's popularity, by which its sum is multiplied.", low=0.0
    )
    filter_match: float | None = option(
        None, "Weight h of the cosine of a user's and an item's profile.", low=0.0
    )
    filter_user_text: float | None = option(
        None, "Weight g of what the user's profile neighbours would get.", low=0.0
    )
    filter_item_exponent: float | None = option(
        None, "Exponent of the items' degrees in the normalised interactions.", low=0.0, high=1.0
    )
    filter_low_pass: float | None = option(
        None, "Weight l of the ideal low pass of GF-CF over the interactions.", low=0.0
    )
    filter_low_pass_width: int | None = option(
        None, "Leading singular vectors that the low pass lets through.", low=1
    )
    filter_width: int = option(
        128, "Leading directions of the centred profiles in which neighbours are found.", low=1
    )
    filter_neighbours: int = option(20, "Profile neighbours of an item, and of a user.", low=1)
    filter_search: str = option(
        "auto",
        "How profile neighbours are found: exact compares all profiles of a kind, cells those of "
        "near cells of the space, which finds most of them, auto is exact up to 200,000.",
        choices=("auto", "exact", "cells"),
    )

    def fixed_weights(self) -> dict[str, float]:
        """Return the weights that are given, under the names of the filter's weights."""
        named = {
            "two_hops": self.filter_two_hops,
            "text": self.filter_text,
            "popularity": self.filter_popularity,
            "match": self.filter_match,
            "user_text": self.filter_user_text,
            "item_exponent": self.filter_item_exponent,
            "low_pass": self.filter_low_pass,
            "low_pass_width": self.filter_low_pass_width,
        }
        return {name: weight for name, weight in named.items() if weight is not None}
