"""DaRec: disentangled alignment of a backbone's and a language model's embeddings.

Yang et al., "DaRec: A Disentangled Alignment Framework for Large Language Model and Recommender
System", section III.  The equations are pure functions in
:mod:`recbole_darec.alignment.equations`; this module decides which rows they see, how they are
scaled, and what is kept between steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from recbole_darec.alignment.contract import Aligner, TrainedRows, TrainingStep, Widths
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["DaRec", "DaRecOptions"]

# The buffers of each side's last preference centers, where the next step's K-Means starts.
_CENTERS = {"collaborative": "centers_c", "profile": "centers_l"}

# Rows that are projected at once; more go block by block.
_BLOCK = 65_536


class DaRecOptions(Options):
    """Options of DaRec; the paper's values are the defaults where it gives any."""

    align_lambda: float = option(
        0.1, "Trade-off lambda of equation (11), a factor on the sum of the four terms.", low=0.0
    )
    align_sample: int | str = option(
        4096,
        "Rows of all kinds (users, items) sampled per step (N-hat); all takes every one.",
        low=2,
        or_word="all",
    )
    uniformity_sample: int | str = option(
        2048,
        "Rows of the step's sample whose pairs estimate the expectation of equation (3), half of "
        "an epoch's time at 4096; all takes every one.",
        low=2,
        or_word="all",
    )
    weight_or: float = option(1.0, "Weight of the orthogonality term, equation (2).", low=0.0)
    weight_uni: float = option(1.0, "Weight of the uniformity term, equation (3).", low=0.0)
    weight_glo: float = option(1.0, "Weight of the global structure term, equation (5).", low=0.0)
    weight_loc: float = option(1.0, "Weight of the local structure term, equation (10).", low=0.0)
    align_mlp_hidden: list[int] | None = option(
        None,
        "Hidden widths of the four projection MLPs of equation (1); [] is linear, null one hidden "
        "layer as wide as the rows that come out.",
        low=1,
    )
    align_width: int | None = option(
        None, "Width d of the shared and specific rows; null is the backbone's.", low=1
    )
    n_centers: int = option(5, "Number of preference centers K, best in 4 to 8.", low=1)
    kmeans_iterations: int = option(
        5, "Lloyd iterations a step, started from the last step's centers.", low=1
    )
    center_matching: str = option(
        "greedy",
        "How preference centers are paired: greedy, as in equation (8), or the best assignment.",
        choices=("greedy", "hungarian"),
    )
    global_scale: str = option(
        "mean",
        "Global term divided by N-hat squared (mean), or as printed in equation (5) (none).",
        choices=("mean", "none"),
    )
    normalize_shared: bool = option(
        True, "L2-normalise the shared rows before the global term, so that it keeps one scale."
    )


class _Side(NamedTuple):
    shared: Tensor
    terms: dict[str, Tensor]
    centers: tuple[Tensor, Tensor] | None


class DaRec(Aligner):
    """The four terms of DaRec on a sample of rows.

    All kinds share each MLP and are sampled together, without replacement, anew in each step; a
    sample as large as the data set is the whole of it.
    """

    Options: ClassVar[type] = DaRecOptions

    @classmethod
    def check_sizes(cls, options: DaRecOptions, kinds: Mapping[str, slice]) -> None:
        """Refuse more preference centers than rows of the first kind, or of a step's sample."""
        # The first kind has the preferences that the centers stand for: users where there are any.
        kind, rows = next(iter(kinds.items()))
        what, most = f"{kind}s", rows.stop - rows.start
        sample = options.align_sample
        if not isinstance(sample, str) and sample < most:
            what, most = "rows in align_sample", sample
        if options.n_centers > most:
            raise OptionError(
                f"n_centers={options.n_centers:,} is more than there are {what} ({most:,}): "
                "set it lower; 4 to 8 is best"
            )

    def __init__(self, options: DaRecOptions, widths: Widths) -> None:
        super().__init__(options, widths)
        import torch
        from torch import nn

        from recbole_darec.alignment.projection import TwinProjection

        self.options = options
        self.replayable = options.center_matching == "greedy"  # the other one is SciPy's
        width = options.align_width or widths.backbone
        hidden = [width] if options.align_mlp_hidden is None else options.align_mlp_hidden
        self.modules: nn.ModuleDict = nn.ModuleDict(
            {
                "collaborative": TwinProjection(widths.backbone, hidden, width),
                "profile": TwinProjection(widths.profile, hidden, width),
            }
        )
        # Buffers, so that a resumed run starts where the interrupted one would have.
        for name in _CENTERS.values():
            self.modules.register_buffer(name, torch.zeros(options.n_centers, width))
        self.modules.register_buffer("centers_known", torch.zeros((), dtype=torch.bool))
        self._warm = False

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return ``or``, ``uni``, ``glo`` and ``loc``, each times its weight and lambda.

        A term of weight 0 is left out, and so is its cost.
        """
        from recbole_darec.alignment import equations as eq

        opt = self.options
        if opt.align_lambda == 0.0:
            return {}
        many = self._sampled(step) > _BLOCK
        found = self._terms_in_blocks(step) if many else self._terms(step)
        weights = {name: getattr(opt, f"weight_{name}") for name in found}
        return eq.weighted_terms(found, weights, opt.align_lambda)

    def _terms(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return the terms that have a weight, without it.

        In a recorded step the language side waits for nothing that the backbone does.
        """
        from recbole_darec.alignment import equations as eq
        from recbole_darec.numerics import Beside

        opt, device = self.options, step.collaborative.device
        language, structure = Beside(device, from_start=True), Beside(device)
        with language.inside():
            drawn, pairs = self._draw(step)
        language.gives(drawn, pairs)
        rows_c = _some(step.collaborative, drawn)
        of_c = self._of_side("collaborative", rows_c, pairs)
        with language.inside():
            rows_l = _some(step.profiles, drawn).to(rows_c.dtype)
            of_l = self._of_side("profile", rows_l, pairs)
        language.gives(of_l.shared, *of_l.terms.values(), *(of_l.centers or ()))
        terms = {name: of_c.terms[name] + of_l.terms[name] for name in of_c.terms}
        if opt.weight_glo:
            pair = (of_c.shared, of_l.shared)
            structure.takes(*pair)
            with structure.inside():
                if opt.normalize_shared:
                    pair = (eq.unit_rows(of_c.shared), eq.unit_rows(of_l.shared))
                terms["glo"] = eq.global_structure(*pair, scale=opt.global_scale)
        if of_c.centers and of_l.centers:
            terms["loc"] = self._local_structure(of_c.centers, of_l.centers)
        structure.gives(terms.get("glo"))
        return terms

    def _of_side(self, side: str, rows: Tensor, pairs: Tensor | None) -> _Side:
        """Return what the terms need of one side, those that have a weight."""
        from recbole_darec.alignment import equations as eq
        from recbole_darec.numerics import Beside

        opt = self.options
        shared, specific = self.modules[side](rows)
        apart, terms = Beside(rows.device), {}
        apart.takes(shared, specific, pairs)
        with apart.inside():
            if opt.weight_or:
                terms["or"] = eq.orthogonality(specific, shared)
            if opt.weight_uni:
                terms["uni"] = eq.uniformity(_some(specific, pairs))
        centers = self._centers(side, shared) if opt.weight_loc else None
        apart.gives(*terms.values())
        return _Side(shared, terms, centers)

    def _terms_in_blocks(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return the same of very many rows, to rounding, in less memory."""
        from recbole_darec.alignment import equations as eq
        from recbole_darec.alignment.darec_blocks import project_in_blocks
        from recbole_darec.alignment.equations.global_structure import global_structure_of

        opt, terms = self.options, {}
        drawn, pairs = self._draw(step)
        rows_c, rows_l = _some(step.collaborative, drawn), _some(step.profiles, drawn)
        found = project_in_blocks(
            self.modules, rows_c, rows_l, normalized=opt.normalize_shared, size=_BLOCK
        )
        if opt.weight_or:
            terms["or"] = found.orthogonality
        if opt.weight_uni:
            specific_c, specific_l = (
                self.modules[name](_some(rows, pairs).to(rows_c.dtype))[1]
                for name, rows in (("collaborative", rows_c), ("profile", rows_l))
            )
            terms["uni"] = eq.uniformity(specific_c) + eq.uniformity(specific_l)
        if opt.weight_glo:
            terms["glo"] = global_structure_of(found.grams, len(rows_c), scale=opt.global_scale)
        if opt.weight_loc:
            terms["loc"] = self._local_structure(
                self._centers("collaborative", found.shared_c),
                self._centers("profile", found.shared_l),
            )
        return terms

    def representations(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return the shared and the specific rows of both sides, of all kinds."""
        sides = {"c": ("collaborative", step.collaborative), "l": ("profile", step.profiles)}
        found = {}
        for side, (name, rows) in sides.items():
            shared, specific = self.modules[name](rows.to(step.collaborative.dtype))
            found.update({f"shared_{side}": shared, f"specific_{side}": specific})
        return found

    def rank_profiles(self, profiles: Tensor, trained: TrainedRows) -> Tensor:
        """Return means of the rows whose profiles' shared parts are nearest.

        Equation (5) matches the relations within each side's shared rows, not their places, so
        that the language side's neighbours are looked for on the language side.
        """
        encoder, dtype = self.modules["profile"], trained.rows.dtype
        asked, among = (encoder(p.to(dtype))[0] for p in (profiles, trained.profiles))
        return trained.mean_of_nearest(asked, among)

    def _sampled(self, step: TrainingStep) -> int:
        """Return how many rows a step's sample has."""
        size, n = self.options.align_sample, len(step.collaborative)
        return n if isinstance(size, str) else min(size, n)

    def _draw(self, step: TrainingStep) -> tuple[Tensor | None, Tensor | None]:
        """Return which rows are the step's sample, and which of them are paired; None for all."""
        opt, rows = self.options, step.collaborative
        paired = opt.uniformity_sample if opt.weight_uni else "all"
        drawn = _drawn(len(rows), opt.align_sample, rows.device)
        return drawn, _drawn(self._sampled(step), paired, rows.device)

    def _centers(self, side: str, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Return a side's preference centers, equation (6), and how many rows each has."""
        from recbole_darec.alignment import equations as eq

        opt = self.options
        last = self.modules.get_buffer(_CENTERS[side])
        labels, found = eq.kmeans(
            shared.detach(),
            opt.n_centers,
            init_centers=last if self._starts_warm() else None,
            iterations=opt.kmeans_iterations,
        )
        last.copy_(found)
        return eq.centers_of(shared, labels, opt.n_centers)

    def _local_structure(self, of_c: tuple[Tensor, Tensor], of_l: tuple[Tensor, Tensor]) -> Tensor:
        """Return equations (7) to (10) on both sides' centers with their numbers of rows."""
        from recbole_darec.alignment import equations as eq

        self.modules.get_buffer("centers_known").fill_(True)
        self._warm = True
        hungarian = self.options.center_matching == "hungarian"
        match = eq.hungarian_matching if hungarian else eq.greedy_matching
        return eq.matched_structure(of_c, of_l, match)

    def _starts_warm(self) -> bool:
        # Asked of the device only until the first centers are known: no round trip afterwards.
        if not self._warm:
            self._warm = bool(self.modules.get_buffer("centers_known"))
        return self._warm


def _drawn(n: int, size: int | str, device: torch.device) -> Tensor | None:
    import torch

    every = isinstance(size, str) or size >= n
    return None if every else torch.randperm(n, device=device)[:size]


def _some(rows: Tensor, chosen: Tensor | None) -> Tensor:
    return rows if chosen is None else rows.index_select(0, chosen)
