"""The contract of the backbones: ours, and those of RecBole's that yield embeddings."""

from __future__ import annotations

from typing import ClassVar

from recbole_darec.testing import BackboneContract


class TestLightGCN(BackboneContract):
    backbone = "LightGCN"


class TestLightGCNAsInThePapers(BackboneContract):
    backbone = "LightGCN"
    options: ClassVar = {"edge_keep_rate": 0.8, "reg_form": "full", "layer_aggregation": "sum"}


class TestGCCF(BackboneContract):
    backbone = "GCCF"


class TestGCCFAsInThePapers(BackboneContract):
    backbone = "GCCF"
    options: ClassVar = {"edge_keep_rate": 0.8, "reg_form": "full"}


class TestSGL(BackboneContract):
    backbone = "SGL"


class TestSGLAsInThePapers(BackboneContract):
    backbone = "SGL"
    options: ClassVar = {
        "view_graphs": "step",
        "drop_ratio": 0.2,
        "contrast_negatives": True,
        "reg_form": "full",
    }


class TestSimGCL(BackboneContract):
    backbone = "SimGCL"
    # Of 40 items most are in each batch: the paper's weight would tell apart what is alike.
    options: ClassVar = {"ssl_weight": 0.02}


class TestSimGCLAsInThePapers(BackboneContract):
    backbone = "SimGCL"
    options: ClassVar = {
        "include_ego": True,
        "contrast_candidates": "all",
        "contrast_negatives": True,
        "reg_form": "full",
        "ssl_weight": 0.02,
    }


class TestNCL(BackboneContract):
    backbone = "NCL"
    options: ClassVar = {"num_clusters": 4, "warm_up_step": 1, "m_step": 1}


class TestNCLWithStrongContrasts(BackboneContract):
    backbone = "NCL"
    options: ClassVar = {
        "num_clusters": 4,
        "warm_up_step": 0,
        "m_step": 2,
        "hyper_layers": 2,
        "loss_reduction": "mean",
        "ssl_reg": 0.01,
        "proto_reg": 0.01,
        "reg_form": "full",
    }


class TestDCCF(BackboneContract):
    backbone = "DCCF"
    options: ClassVar = {"n_intents": 8}


class TestDCCFAsInThePapers(BackboneContract):
    backbone = "DCCF"
    options: ClassVar = {"n_intents": 8, "reg_form": "full", "n_layers": 3}


class TestAutoCF(BackboneContract):
    backbone = "AutoCF"
    # Two seeds and their neighbours of 60 users and 40 items; three masks in six steps.
    options: ClassVar = {"n_seeds": 2, "mask_depth": 1, "mask_every": 2}


class TestAutoCFAsInThePapers(BackboneContract):
    backbone = "AutoCF"
    options: ClassVar = {"n_seeds": 2, "mask_depth": 2, "reg_form": "full", "ssl_weight": 5.0}


class TestNGCF(BackboneContract):
    backbone = "NGCF"


class TestBPR(BackboneContract):
    backbone = "BPR"


class TestSimpleX(BackboneContract):
    backbone = "SimpleX"


class TestENMF(BackboneContract):
    backbone = "ENMF"
    # A batch is one of users, of whom there are 60.
    options: ClassVar = {"train_batch_size": 8, "dropout_prob": 0.1}


class TestDGCF(BackboneContract):
    backbone = "DGCF"
