"""A run that takes another one's training comes out as if it had trained by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import TinyDataset
from tiny_runs import options, outcome

from recbole_darec.errors import CheckpointError
from recbole_darec.resolve import resolve
from recbole_darec.run import train


def trained(
    data: TinyDataset, align: str, trained: Path | None = None, **changed: Any
) -> dict[str, Any]:
    given = options(data.data_path, align=align, num_threads=1, **changed)
    return train(resolve("LightGCN", "tiny", None, given), trained=trained)


@pytest.mark.parametrize(
    ("align", "plain"), [("text_filter", "none"), ("rlmrec_con+text_filter", "rlmrec_con")]
)
def test_the_filter_beside_a_taken_model_is_that_beside_its_own(
    align: str,
    plain: str,
    tiny_dataset: TinyDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    source = trained(tiny_dataset, plain)
    taken = trained(tiny_dataset, align, Path(source["model_file"]))
    own = trained(tiny_dataset, align)
    assert outcome(taken) == outcome(own)
    assert taken["model_file"] != source["model_file"]


def test_a_model_of_another_width_or_data_set_is_refused(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(trained(tiny_dataset, "none", epochs=1)["model_file"])
    with pytest.raises(CheckpointError, match="does not fit this model"):
        trained(tiny_dataset, "text_filter", source, embedding_size=4)
    with (tiny_dataset.folder / "tiny.train.inter").open("a") as file:
        file.write("u0\ti39\n")
    with pytest.raises(CheckpointError, match="another backbone or data set"):
        trained(tiny_dataset, "text_filter", source)
