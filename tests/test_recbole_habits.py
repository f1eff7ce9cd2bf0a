"""RecBole's documented uses, as docs/recbole.md types them with this package's names."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import get_trainer

from recbole_darec import make_data_and_model, run_recbole_darec
from recbole_darec.errors import UserError
from recbole_darec.testing.tiny_runs import options


def example(mark: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    text = (REPOSITORY / "docs" / "recbole.md").read_text("utf-8")
    found = re.search(rf"<!-- test: {mark} -->\n```python\n(.*?)^```$", text, re.M | re.S)
    assert found is not None
    code = found[1].replace('"ml-100k"', '"tiny"').replace('["1", "2"]', '["u1", "u2"]')

    def run(names: dict[str, Any]) -> dict[str, Any]:
        exec(compile(code, "docs/recbole.md", "exec"), names)
        return names

    return run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    make_tiny(tmp_path / "dataset")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quick_start_and_case_study() -> None:
    names = example("case_study")(example("quick_start")({}))
    assert names["names"].shape == (2, 10)
    assert all(item.startswith("i") for item in names["names"].ravel())
    assert list(Path("log_tensorboard").rglob("events.out.*"))
    interaction = Interaction({"user_id": torch.tensor([1, 2]), "item_id": torch.tensor([3, 4])})
    assert names["model"].predict(interaction).shape == (2,)
    assert names["dataset"].sparsity < 1
    assert names["dataset"].inter_matrix(form="coo").shape == (61, 41)


def test_the_modules_one_by_one() -> None:
    names = example("modules")({})
    assert [epoch for epoch, _ in names["seen"]] == [0, 1]
    assert names["test_result"]["recall@10"] > 0
    file = names["trainer"].saved_model_file
    # The model that was kept is the best one, and another trainer goes on from it.
    again = Trainer(names["config"], names["model"])
    again.resume_checkpoint(file)
    assert again.start_epoch in (1, 2)
    assert again.evaluate(names["test_data"], model_file=file) == names["test_result"]
    assert torch.load(file, weights_only=True)["config"]["model"] == "LightGCN"


@pytest.mark.parametrize("name", ["LightGCN", "NCL", "NeuMF"])
def test_recboles_choice_of_a_trainer(name: str, folder: Path) -> None:
    given = options(folder / "dataset", align="none", epochs=1)
    config, model, _, train_data, valid_data, test_data = make_data_and_model(
        name, "tiny", config_dict=given
    )
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    score, result = trainer.fit(train_data, valid_data)
    assert score == pytest.approx(result["recall@10"], abs=1e-4)
    assert trainer.evaluate(test_data)


@pytest.fixture
def silent_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Send Weights & Biases to a port of this machine, where nobody answers."""
    wandb = pytest.importorskip("wandb", reason="needs wandb")
    wandb.teardown()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in {
            "WANDB_BASE_URL": address,
            "WANDB_DIR": str(folder),
            "WANDB_CONSOLE": "off",
            "WANDB_SILENT": "true",
            "WANDB_API_KEY": "",
            "HTTP_PROXY": address,
            "HTTPS_PROXY": address,
            "HOME": str(folder),
        }.items():
            monkeypatch.setenv(name, value)
        yield server
    wandb.teardown()


def test_weights_and_biases_without_a_network(
    folder: Path, silent_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert example("wandb")({})["result"]["best_epoch"] == 0
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    with pytest.raises(BlockingIOError):  # no connection is waiting
        silent_server.accept()


def test_weights_and_biases_without_a_login(
    folder: Path, silent_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    given = {**options(folder / "dataset", align="none"), "log_wandb": True}
    with pytest.raises(UserError, match=r"log_wandb: .*; log in with 'wandb login', or set W"):
        run_recbole_darec("LightGCN", "tiny", config_dict=given)
    assert not list((folder / "saved").glob("*.pth"))


def test_hyper_tuning(folder: Path) -> None:
    pytest.importorskip("hyperopt", reason="needs hyperopt")
    (folder / "fixed.yaml").write_text(
        "model: LightGCN\ndataset: tiny\nalign: none\nepochs: 1\nshow_progress: False\n"
    )
    assert example("tuning")({})["best"]["learning_rate"] in (0.001, 0.01)
