"""What the methods share whose experts are made of item texts: PAD's parts and its baselines'.

"PAD" is Wang et al., "Pre-train, Align, and Disentangle: Empowering Sequential Recommendation with
Large Language Models" (SIGIR 2025).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recbole_darec.alignment.equations import frequency_buckets, gate_weights
from recbole_darec.errors import OptionError

__all__ = ["BucketGate", "fusion", "projection"]


def projection(width: int, d: int, layers: int, dropout: float) -> nn.Sequential:
    """Return P: linear to ``d`` and GELU, then ``layers`` times dropout, linear, GELU."""
    parts: list[nn.Module] = [nn.Linear(width, d), nn.GELU()]
    for _ in range(layers):
        parts += [nn.Dropout(dropout), nn.Linear(d, d), nn.GELU()]
    return _initialised(nn.Sequential(*parts))


def fusion(d: int, dropout: float, parts: int = 2) -> nn.Sequential:
    """Return F: dropout, linear from ``parts d`` to ``d``, GELU."""
    return _initialised(nn.Sequential(nn.Dropout(dropout), nn.Linear(parts * d, d), nn.GELU()))


def _initialised(made: nn.Sequential) -> nn.Sequential:
    for module in made:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return made


class BucketGate(nn.Module):
    """Equation (11): weights of the experts by an item's bucket.

    Args:
        starts: by expert, the logit of the warmest bucket and that of the coldest; those between
            lie on the line.
        n_buckets: how many.
        width: of the experts' rows, where these take part in the logit; 0: they do not.
    """

    items: Tensor

    def __init__(
        self, starts: Mapping[str, tuple[float, float]], n_buckets: int, width: int = 0
    ) -> None:
        super().__init__()
        self.n_buckets = n_buckets
        self.names = tuple(starts)
        lines = [torch.linspace(a, b, n_buckets + 1) for a, b in starts.values()]
        # Row b is bucket b's; row 0 is the padding's, as in the released code.
        self.logits = nn.Parameter(torch.stack(lines, 1))
        self.slopes = nn.Parameter(torch.zeros(len(starts), width)) if width else None
        self.register_buffer("items", torch.empty(0, dtype=torch.int64), persistent=False)

    def count(self, counts: Tensor) -> None:
        """Put the items into buckets by their training counts ``[N]``."""
        counted = int((counts > 0).sum())
        if self.n_buckets > counted:
            raise OptionError(
                f"gate_buckets={self.n_buckets}: only {counted} items stand in the training part; "
                "take fewer"
            )
        self.items = frequency_buckets(counts, self.n_buckets).to(self.logits.device)

    def forward(self, items: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """Return the weights ``[n, K]`` of the experts in ``rows`` for the items ``[n]``."""
        chosen = [self.names.index(name) for name in rows]
        logits = self.logits[self.items[items]][:, chosen]
        if self.slopes is not None:
            added = [row @ self.slopes[k] for k, row in zip(chosen, rows.values())]
            logits = logits + torch.stack(added, 1)
        return gate_weights(logits)

    def by_bucket(self) -> dict[str, float]:
        """Return ``gate_<expert>_<bucket>``: the weights without what the rows add."""
        weights = gate_weights(self.logits.detach())
        return {
            f"gate_{name}_{bucket}": float(weights[bucket, k])
            for k, name in enumerate(self.names)
            for bucket in range(1, self.n_buckets + 1)
        }
