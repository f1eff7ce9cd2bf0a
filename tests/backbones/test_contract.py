"""The contract of the backbones: ours, and those of RecBole's that yield embeddings."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from recbole.model.general_recommender.ncl import NCL as RecBoleNCL

from backbones.contract import BackboneContract
from recbole_darec.alignment.equations import kmeans


class NCL(RecBoleNCL):
    """RecBole's NCL with K-Means of this package: its own needs faiss, built for a GPU."""

    def run_kmeans(self, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.from_numpy(x)
        labels, centers = kmeans(rows, self.k, iterations=5)
        return torch.nn.functional.normalize(centers, dim=1), labels


class TestLightGCN(BackboneContract):
    backbone = "LightGCN"


class TestLightGCNAsInThePapers(BackboneContract):
    backbone = "LightGCN"
    options: ClassVar = {"edge_keep_rate": 0.8, "reg_form": "full", "layer_aggregation": "sum"}


class TestSGL(BackboneContract):
    backbone = "SGL"


class TestNGCF(BackboneContract):
    backbone = "NGCF"


class TestNCL(BackboneContract):
    backbone = NCL
    options: ClassVar = {"num_clusters": 4, "warm_up_step": 1, "m_step": 1}
