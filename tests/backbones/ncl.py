"""RecBole's NCL where faiss is not installed."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender.ncl import NCL as RecBoleNCL

from recbole_darec.alignment.equations import kmeans


class NCL(RecBoleNCL):
    """RecBole's NCL with K-Means of this package: its own needs faiss, built for a GPU."""

    def run_kmeans(self, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.from_numpy(x)
        labels, centers = kmeans(rows, self.k, iterations=5)
        return torch.nn.functional.normalize(centers, dim=1), labels
