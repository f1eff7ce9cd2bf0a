"""What a preparation of a raw data set read, left out and wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recbole_darec.errors import some
from recbole_darec.sources.importers.base import Coverage
from recbole_darec.sources.raw.lines import Faults
from recbole_darec.sources.raw.texts import MAX_CELL

__all__ = ["PrepareReport"]


@dataclass
class PrepareReport:
    """What was read, what went at each step, and what was written.

    Attributes:
        dataset: the data set's name.
        folder: where it lies now.
        faults: what was odd about each file, the interactions' first.
        read: interactions in the raw file.
        duplicates: older reviews of a pair that has a later one.
        min_rating: the least rating; ``None`` where there is none.
        below: interactions below it.
        k_core: the least number of interactions of a user and of an item.
        user_core, item_core: of one of them, where that is another number.
        outside: interactions outside the k-core.
        rounds: how often the k-core took something out.
        latest: interactions of a user that stay in order of time; 0 for all.
        older: those before them.
        tied: neighbours of one user and one time; ``None`` where there is no order.
        ties: how those were put in order.
        repeats: neighbours that are one item twice.
        short: users with fewer than three interactions, of whom none is held out.
        users, items: of what is left.
        interactions: part -> rows.
        reviews: interactions left that have a text; ``None`` where the source has no texts.
        coverage: ``"item texts"``, ``"item title"``, … -> how far they reach.
        cut: texts that were too long for one cell, and were cut.
        lacking: kinds of texts (``"item"``, ``"user"``) for which there was no raw file.
        held: bytes of what the first pass kept, with the ids of the users and items left.
        files: names of the files written.
        seconds: wall time.
    """

    dataset: str
    folder: Path
    faults: list[Faults] = field(default_factory=list)
    read: int = 0
    duplicates: int = 0
    min_rating: float | None = None
    below: int = 0
    k_core: int = 0
    user_core: int | None = None
    item_core: int | None = None
    outside: int = 0
    rounds: int = 0
    latest: int = 0
    older: int = 0
    tied: int | None = None
    ties: str = "file"
    repeats: int = 0
    short: int = 0
    users: int = 0
    items: int = 0
    interactions: dict[str, int] = field(default_factory=dict)
    reviews: int | None = None
    coverage: dict[str, Coverage] = field(default_factory=dict)
    cut: int = 0
    lacking: Sequence[str] = ()
    held: int = 0
    files: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cores(self) -> tuple[int, int]:
        """The least number of interactions of a user, and of an item."""
        user, item = self.user_core, self.item_core
        return (
            self.k_core if user is None else user,
            self.k_core if item is None else item,
        )

    @property
    def core(self) -> str:
        """What was asked of users and items, in words."""
        user, item = self.cores
        return f"{user}-core" if user == item else f"core of {user} a user, {item} an item"

    @property
    def kept(self) -> int:
        """Interactions of all parts."""
        return sum(self.interactions.values())

    @property
    def density(self) -> float:
        """Interactions over users × items, between 0 and 1."""
        return self.kept / max(self.users * self.items, 1)

    def table(self) -> str:
        """Return the report as aligned lines."""
        rows: list[tuple[str, str]] = []
        for faults in self.faults:
            rows.append((f"{faults.name}: lines", f"{faults.lines:,}"))
            for what, found in (("skipped", faults.found), ("noted", faults.mended)):
                for kind, (count, first) in sorted(found.items()):
                    rows.append((f"  {what}: {kind}", f"{count:,} (first: {first})"))
        rows.append(("interactions read", f"{self.read:,}"))
        rows.append(("older ones of a pair, dropped", f"{self.duplicates:,}"))
        if self.min_rating is not None:
            rows.append((f"rated below {self.min_rating:g}, dropped", f"{self.below:,}"))
        if max(self.cores) > 1:
            what = f"outside the {self.core}, dropped"
            rows.append((what, f"{self.outside:,} (rounds: {self.rounds})"))
        if self.latest:
            rows.append((f"before a user's {self.latest:,} latest, dropped", f"{self.older:,}"))
        rows.append(("interactions kept", f"{self.kept:,}"))
        rows += [(f"  {part}", f"{count:,}") for part, count in self.interactions.items()]
        if self.tied is not None:
            rows.append((f"neighbours of one time, ties by {self.ties}", f"{self.tied:,}"))
            rows.append(("neighbours that are one item twice", f"{self.repeats:,}"))
            if self.short:
                rows.append(("users with fewer than three", f"{self.short:,} (training alone)"))
        rows += [("users", f"{self.users:,}"), ("items", f"{self.items:,}")]
        rows.append(("density", f"{100 * self.density:.3f} %"))
        if self.reviews is not None:
            rows.append(("interactions with a review", _share(self.reviews, self.kept)))
        for what, coverage in self.coverage.items():
            lacking = ""
            if coverage.missing:
                rest = coverage.total - coverage.covered
                lacking = f"; none for {some(coverage.missing, 3, rest)}"
            rows.append((what, _share(coverage.covered, coverage.total) + lacking))
        rows += [(f"{kind} texts", "no raw file") for kind in self.lacking]
        if self.cut:
            rows.append((f"texts cut at {MAX_CELL:,} characters", f"{self.cut:,}"))
        rows.append(("files", ", ".join(self.files)))
        width = max(len(name) for name, _ in rows)
        head = f"{self.dataset} -> {self.folder} ({self.seconds:.1f} s)"
        return "\n".join([head, *(f"  {name:<{width}}  {value}" for name, value in rows)])


def _share(part: int, whole: int) -> str:
    percent = 100 * part / max(whole, 1)
    # rounding must not make 99.99 % look like all
    return f"{part:,} of {whole:,} ({min(percent, 99.9) if part < whole else percent:.1f} %)"
