"""A mixture of shared and own experts over the profiles of each kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recbole_darec.alignment.projection import mlp

__all__ = ["ExpertMixture"]


class ExpertMixture(nn.Module):
    """Experts, some of which all kinds share, weighted by a softmax gate of each kind.

    KAR (Xi et al., RecSys 2024), section 3.3: the gate of a kind sees the profile and weighs the
    shared experts and the kind's own.

    Args:
        width_in: width of the profiles.
        hidden: hidden widths of an expert.
        width_out: width of the experts' outputs.
        n_shared: experts of all kinds, at least 1.
        n_own: experts of each kind.
        kinds: names of the kinds.
    """

    def __init__(
        self,
        width_in: int,
        hidden: Sequence[int],
        width_out: int,
        *,
        n_shared: int,
        n_own: int,
        kinds: Sequence[str],
    ) -> None:
        super().__init__()
        self.shared = nn.ModuleList([mlp(width_in, hidden, width_out) for _ in range(n_shared)])
        self.own = nn.ModuleDict(
            {
                kind: nn.ModuleList([mlp(width_in, hidden, width_out) for _ in range(n_own)])
                for kind in kinds
            }
        )
        self.gates = nn.ModuleDict({kind: mlp(width_in, [], n_shared + n_own) for kind in kinds})

    def forward(self, profiles: Tensor, kind: str) -> Tensor:
        """Return the weighted outputs, float ``[N, width_out]``, of profiles ``[N, width_in]``."""
        own = self.own[kind]
        assert isinstance(own, nn.ModuleList)
        encoders = [*self.shared, *own, self.gates[kind]]
        # All first layers, the gate's too, read the same wide rows: one matrix product for all.
        firsts = [encoder[0] for encoder in encoders]
        product = nn.functional.linear(
            profiles,
            torch.cat([first.weight for first in firsts]),
            torch.cat([first.bias for first in firsts]),
        )
        *parts, scores = torch.split(product, [first.out_features for first in firsts], dim=1)
        outputs = torch.stack([e[1:](part) for e, part in zip(encoders, parts)], dim=1)
        mixed: Tensor = torch.bmm(scores.softmax(1).unsqueeze(1), outputs).squeeze(1)
        return mixed
