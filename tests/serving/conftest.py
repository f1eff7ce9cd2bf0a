"""A model of the tiny data set, trained once by the public command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recbole_darec import run_recbole_darec
from recbole_darec.testing.tiny_runs import options
from serving.trained import Trained


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    make_tiny(folder / "dataset")
    titles = "".join(f"i{n}\tThe {n}th thing\n" for n in range(40))
    (folder / "dataset" / "tiny" / "tiny.item").write_text(
        "item_id:token\ttitle:token_seq\n" + titles
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run_recbole_darec("LightGCN", "tiny", None, options(folder / "dataset"))
    return Trained(folder, folder / result["model_file"])
