"""A run's settings as checked objects: who hands them on, and what is not in them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recbole.config import Config

from recbole_darec.alignment.darec import DaRecOptions
from recbole_darec.alignment.kar import KAROptions
from recbole_darec.backbones.registry import BACKBONES, backbone_class, read_options
from recbole_darec.backbones.simgcl import SimGCL
from recbole_darec.errors import OptionError
from recbole_darec.recbole_compat.config import make_config
from recbole_darec.resolve import resolve
from recbole_darec.settings.options import Options, options_from_config, parse_options
from recbole_darec.settings.run_options import RunOptions

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {"n_centers": 7, "noise_eps": 0.3, "eval_batch_users": 5, "diagnostics": True}


def test_each_group_of_a_run_is_an_object_with_its_values() -> None:
    settings = resolve("SimGCL", "ml-100k", None, GIVEN)
    assert settings.run.diagnostics is True
    assert settings.run.align == settings.align == "darec"
    assert settings.evaluation.eval_batch_users == 5
    assert settings.aligner == DaRecOptions(n_centers=7, align_sample=1024)
    assert isinstance(settings.backbone, SimGCL.Options)
    assert settings.backbone.noise_eps == 0.3
    for group in settings.groups:
        assert group == parse_options(type(group), settings.values)


def test_recboles_configuration_hands_out_the_very_objects() -> None:
    settings = resolve("SimGCL", "ml-100k", None, GIVEN)
    config = make_config(settings, backbone_class(settings.model))
    assert config.settings is settings
    config["n_centers"] = "never read again"
    for group in settings.groups:
        assert options_from_config(type(group), config) is group


def test_a_plain_configuration_is_read_by_its_keys() -> None:
    config = Config(model="BPR", dataset="ml-100k", config_dict={"n_centers": 7})
    assert options_from_config(DaRecOptions, config) == DaRecOptions(n_centers=7)
    assert options_from_config(RunOptions, config) == RunOptions()
    config["n_centers"] = 0
    with pytest.raises(OptionError, match="n_centers=0 must be at least 1"):
        options_from_config(DaRecOptions, config)


def test_the_options_of_another_method_are_read_by_their_keys() -> None:
    """A class may be made by hand with the configuration of a run of another aligner."""
    config = make_config(
        resolve("SimGCL", "ml-100k", None, {"align": "none", "kar_hidden": [3]}),
        backbone_class("SimGCL"),
    )
    assert options_from_config(KAROptions, config) == KAROptions(kar_hidden=[3])


def test_a_class_of_ones_own_has_its_own_options() -> None:
    class LoudOptions(Options):
        """Of the class below."""

        RECBOLE_DEFAULTS = {"n_layers": 4}  # noqa: RUF012

    class Loud(SimGCL):
        Options = LoudOptions

    settings = resolve(Loud, "ml-100k")
    assert type(settings.backbone) is LoudOptions


def test_settings_without_an_aligner_keep_the_rest() -> None:
    settings = resolve("SimGCL", "ml-100k", None, GIVEN).without_aligner()
    assert (settings.align, settings.run.align) == ("none", "none")
    assert settings.values["align"] == "none"
    assert settings.aligner == Options()
    assert settings.evaluation.eval_batch_users == 5


def test_other_values_are_checked() -> None:
    settings = resolve("SimGCL", "ml-100k")
    changed = settings.with_values({**settings.values, "noise_eps": 1})
    assert changed.backbone is not None
    assert changed.backbone.model_dump()["noise_eps"] == 1.0
    with pytest.raises(OptionError, match="noise_eps=-1 must be at least 0"):
        settings.with_values({**settings.values, "noise_eps": -1})


_IN_A_LIGHT_PROCESS = """
import pickle, sys
from recbole_darec.resolve import resolve
settings = resolve("SimGCL", "ml-100k", None, {"noise_eps": 0.3})
sys.stdout.buffer.write(pickle.dumps(settings))
assert "torch" not in sys.modules
"""


def test_settings_go_to_another_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_LIGHT_PROCESS], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    settings = pickle.loads(done.stdout)
    assert settings == resolve("SimGCL", "ml-100k", None, {"noise_eps": 0.3})
    assert type(settings.backbone) is SimGCL.Options


_BACKBONE = '''"""Halfway: the mean of layer 0 and the last layer."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from recbole_darec.backbones.graph_recommender import GraphRecommender
from recbole_darec.backbones.options import GraphOptions
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option

HALF = torch.tensor(0.5)


class _SharedOptions(Options):
    """What a second class of the file would have, too."""

    share: float | None = option(0.5, "Share of layer 0.", low=0.0, high=1.0)


class HalfwayOptions(_SharedOptions, GraphOptions):
    """Options of Halfway."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {"n_layers": 5, "embedding_size": 16}

    def check_together(self) -> None:
        """Refuse a share that the sum has no use for."""
        if self.share == 0.25 and self.layer_aggregation == "sum":
            raise OptionError("share=0.25 goes with layer_aggregation=mean")


class Halfway(GraphRecommender):
    """Two layers of many."""

    Options: ClassVar[type] = HalfwayOptions
'''


def test_a_backbone_is_one_file_and_one_line(tmp_path: Path) -> None:
    """Before any property file of it is made, and without torch."""
    (tmp_path / "halfway.py").write_text(_BACKBONE, encoding="utf-8")
    code = (
        "import json, sys\n"
        "from recbole_darec.backbones.registry import BACKBONES\n"
        "BACKBONES['Halfway'] = 'halfway:Halfway'\n"
        "from recbole_darec.cli.arguments import options_help\n"
        "from recbole_darec.errors import OptionError\n"
        "from recbole_darec.resolve import resolve\n"
        "found = resolve('halfway', 'ml-100k', None, None, {'layer_aggregation': 'mean'})\n"
        "told = [found.model, found.values['n_layers'], found.values['share']]\n"
        "assert 'options of --model=Halfway:' in options_help()\n"
        "for wrong in ({'shar': 1}, {'share': 2}, {'share': 0.25}):\n"
        "    try:\n"
        "        resolve('Halfway', 'ml-100k', None, None, wrong)\n"
        "    except OptionError as error:\n"
        "        told.append(str(error))\n"
        "assert not {'torch', 'recbole', 'numpy'} & set(sys.modules)\n"
        "print(json.dumps(told))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "Halfway",
        5,
        0.5,
        "unknown option 'shar' on the command line (did you mean 'share'?)",
        "share=2 must be at least 0 and at most 1",
        "share=0.25 goes with layer_aggregation=mean",
    ]


def test_a_backbone_without_options_is_a_fault_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nameless.py").write_text("class Nameless:\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LookupError, match="nameless:Nameless has no line 'Options:"):
        read_options("nameless:Nameless")


def test_the_registry_names_classes_that_there_are() -> None:
    def real(location: str) -> Any:
        module, _, name = location.partition(":")
        return getattr(__import__(module, fromlist=[name]), name)

    assert {real(location).__name__ for location in BACKBONES.values()} == set(BACKBONES)
