"""The contract of the alignment methods."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import pytest
import torch
from conftest import environment

from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.errors import OptionError
from recbole_darec.testing import AlignerContract, ExpertAlignerContract


class TestNone(AlignerContract):
    align = "none"


class TestDaRec(AlignerContract):
    align = "darec"
    options: ClassVar = {
        "align_width": 6,
        "align_mlp_hidden": [8],
        "n_centers": 3,
        "align_sample": 40,
    }
    refused: ClassVar = [
        ("align_lambda", -0.1),
        ("align_lambda", float("nan")),
        ("align_lambda", True),
        ("align_sample", 1),
        ("align_sample", "some"),
        ("weight_glo", float("inf")),
        ("n_centers", 0),
        ("n_centers", 2.5),
        ("align_mlp_hidden", [0]),
        ("center_matching", "nearest"),
        ("global_scale", "sum"),
        ("normalize_shared", "yes"),
    ]


class TestDaRecOnAllRows(TestDaRec):
    options: ClassVar = {**TestDaRec.options, "align_sample": "all", "center_matching": "hungarian"}


class TestRelational(AlignerContract):
    align = "relational"
    options: ClassVar = {"relation_width": 6, "n_neighbours": 3, "relation_weight": 0.1}
    refused: ClassVar = [
        ("neighbour_weight", -0.1),
        ("n_neighbours", 0),
        ("relation_weight", float("nan")),
        ("relation_sample", 1),
        ("relation_temperature", 0.0),
        ("target_temperature", -0.1),
        ("relation_width", 0),
    ]


class TestRelationalCon(AlignerContract):
    align = "relational_con"
    options: ClassVar = {"relation_width": 6, "n_neighbours": 3, "kd_weight": 1.0}
    refused: ClassVar = [
        ("neighbour_weight", -0.1),
        ("n_neighbours", 0),
        ("kd_weight", -0.1),
        ("kd_temperature", 0.0),
        ("negatives", "some"),
    ]


class TestRLMRecCon(AlignerContract):
    align = "rlmrec_con"
    options: ClassVar = {"kd_weight": 1.0}
    refused: ClassVar = [
        ("kd_weight", -0.1),
        ("kd_temperature", 0.0),
        ("kd_temperature", -0.2),
        ("negatives", "some"),
    ]


class TestRLMRecConWithAllUsers(TestRLMRecCon):
    options: ClassVar = {"kd_weight": 1.0, "negatives": "all"}


class TestRLMRecGen(AlignerContract):
    align = "rlmrec_gen"
    options: ClassVar = {"kd_weight": 1.0, "mask_ratio": 0.3}
    refused: ClassVar = [
        ("mask_ratio", 0.0),
        ("mask_ratio", 1.0),
        ("kd_weight", float("nan")),
        ("kd_temperature", 0.0),
    ]


class TestKAR(AlignerContract):
    align = "kar"
    refused: ClassVar = [
        ("kar_shared_experts", 0),
        ("kar_own_experts", -1),
        ("kar_hidden", [0]),
        ("kar_fusion", "gate"),
    ]


class TestKARWithAWiderRepresentation(TestKAR):
    options: ClassVar = {"kar_fusion": "concat", "kar_hidden": [], "kar_own_experts": 0}


class TestTextFilter(AlignerContract):
    align = "text_filter"
    refused: ClassVar = [
        ("filter_weight", 1.5),
        ("filter_weight", -0.1),
        ("filter_text", -1.0),
        ("filter_item_exponent", 2.0),
        ("filter_neighbours", 0),
        ("filter_width", 0),
    ]


class TestPAD(ExpertAlignerContract):
    align = "pad"
    options: ClassVar = {"gate_buckets": 3}
    refused: ClassVar = [
        ("pad_gamma", -0.1),
        ("pad_kernel", "quartic"),
        ("pad_anchor", "some"),
        ("pad_experts", ["text"]),
        ("expert_gate", "soft"),
        ("gate_buckets", 0),
        ("expert_layers", -1),
        ("expert_dropout", 1.0),
    ]


class TestPADByTheNetworksGateWithoutItsAnchor(TestPAD):
    options: ClassVar = {
        "gate_buckets": 3,
        "expert_gate": "network",
        "pad_anchor": "without",
        "pad_kernel": "laplace",
    }


class TestPADByASharedGateAndItsContrast(TestPAD):
    options: ClassVar = {"expert_gate": "shared", "pad_kernel": "infonce", "pad_gamma": 0.01}

    def test_the_weights_are_learned_and_those_of_every_item(self) -> None:
        gate = self.make().modules["gate"]
        gate.count(torch.tensor([9, 0, 3, 1]))
        rows = dict.fromkeys(("id", "align", "llm"), torch.zeros(4, 2))
        weights = gate(torch.arange(4), rows)
        assert weights.requires_grad
        # Half-way between the warmest bucket's start and the coldest one's.
        logits = torch.tensor([0.5, -4.5, 0.5])
        expected = logits.sigmoid() / logits.sigmoid().sum()
        assert torch.allclose(weights, expected.expand(4, 3))


class TestPADOfOneExpertWithoutAGate(TestPAD):
    options: ClassVar = {"expert_gate": "none", "pad_experts": ["align"], "pad_anchor": "none"}


class TestPADWithoutItsAlignedExpert(TestPAD):
    options: ClassVar = {"gate_buckets": 3, "pad_experts": ["llm", "id"]}

    def test_nothing_is_aligned_for_an_expert_that_is_left_out(self) -> None:
        names = [phase.name for phase in self.method.phases(self.parsed())]
        assert names == ["pretrain", "tune"]


class TestSMEM(ExpertAlignerContract):
    align = "smem"
    options: ClassVar = {"gate_buckets": 3}
    refused: ClassVar = [("pad_experts", ["some"]), ("gate_buckets", 0)]


class TestHybrid(ExpertAlignerContract):
    align = "hybrid"
    refused: ClassVar = [("expert_init", "random"), ("expert_layers", -1)]


class TestHybridFromTheBackbone(TestHybrid):
    options: ClassVar = {"expert_init": "pretrained"}


class TestMoRec(ExpertAlignerContract):
    align = "morec"
    refused: ClassVar = [("expert_init", "random")]


class TestMoRecFromTheBackbone(TestMoRec):
    options: ClassVar = {"expert_init": "pretrained"}


class TestCTRL(ExpertAlignerContract):
    align = "ctrl"
    refused: ClassVar = [("ctrl_temperature", 0.0)]


class TestMAKE(ExpertAlignerContract):
    align = "make"
    options: ClassVar = {"gate_buckets": 3, "expert_init": "pretrained"}
    refused: ClassVar = [("gate_buckets", 0)]


class TestDisCo(ExpertAlignerContract):
    align = "disco"
    refused: ClassVar = [("disco_sufficiency", -0.1), ("disco_disentangle", float("nan"))]


class TestDisCoFromTheBackbone(TestDisCo):
    options: ClassVar = {"expert_init": "pretrained", "disco_disentangle": 0.0}


def test_every_registered_method_is_held_to_the_contract() -> None:
    contracts = (*AlignerContract.__subclasses__(), *ExpertAlignerContract.__subclasses__())
    tested = {c.align for c in contracts if hasattr(c, "align")}
    # At least: the documentation has an example of its own, which its test holds to the contract.
    assert tested >= set(aligner_names())


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(OptionError, match=r"unknown align 'darek'.*did you mean 'darec'"):
        aligner_class("darek")


def test_options_are_read_without_torch() -> None:
    code = (
        "import sys; from recbole_darec.alignment.registry import *; "
        "[aligner_class(n).Options for n in aligner_names()]; "
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0
