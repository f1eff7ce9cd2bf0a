"""RecBole's own helpers for top-k, on what ``load_data_and_model`` returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.utils.case_study import full_sort_scores, full_sort_topk
from tiny_runs import options

from recbole_darec import load_data_and_model, run_recbole_darec


@pytest.mark.parametrize("align", ["none", "kar"])
@pytest.mark.parametrize("model", ["LightGCN", "BPR"])
def test_scores_and_topk(
    model: str, align: str, tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {k: v for k, v in options(tmp_path / "dataset").items() if not k.startswith("align_")}
    given |= {"align": align, "epochs": 1}
    if align == "kar":
        given["kar_fusion"] = "add"
    result = run_recbole_darec(model, "tiny", config_dict=given)
    config, loaded, dataset, _, _, test = load_data_and_model(result["model_file"])
    users = dataset.token2id(dataset.uid_field, ["u1", "u2", "u59"])
    scores = full_sort_scores(users, loaded, test, device=config["device"])
    assert scores.shape == (3, dataset.item_num)
    values, items = full_sort_topk(users, loaded, test, k=5, device=config["device"])
    folder = tmp_path / "dataset" / "tiny"
    for row, token in enumerate(("u1", "u2", "u59")):
        known = {
            line.split("\t")[1]
            for part in ("train", "valid")
            for line in (folder / f"tiny.{part}.inter").read_text().splitlines()
            if line.split("\t")[0] == token
        }
        hidden = {0, *dataset.token2id(dataset.iid_field, sorted(known))}
        finite = set(np.flatnonzero(torch.isfinite(scores[row]).numpy()))
        assert finite == set(range(dataset.item_num)) - hidden
        with torch.no_grad():
            pairs = {"user_id": torch.full((dataset.item_num,), int(users[row])),
                     "item_id": torch.arange(dataset.item_num)}  # fmt: skip
            alone = loaded.predict(pairs)
        order = [int(n) for n in alone.argsort(descending=True) if int(n) not in hidden][:5]
        assert items[row].tolist() == order
        assert values[row].tolist() == sorted(values[row].tolist(), reverse=True)
