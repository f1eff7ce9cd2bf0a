"""The text filter by the public command: what it refuses, and profiles that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_darec.cli.main import main
from recbole_darec.testing.tiny_dataset import TinyDataset

TRAIN = ["train", "--checkpoint_dir=saved", "--align=text_filter", "--topk=[5]"]
METRIC = "--valid_metric=Recall@5"


def two_items_a_user(tiny: TinyDataset) -> None:
    """Leave each user two training items."""
    path = tiny.folder / "tiny.train.inter"
    head, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(line for n, line in enumerate(lines) if n % 6 < 2))


def no_profiles(tiny: TinyDataset) -> None:
    for path in tiny.folder.glob("tiny.*emb*"):
        path.unlink()


def nothing(tiny: TinyDataset) -> None:
    """Leave the data as they are."""


# Those that read no profiles.
WEIGHTS = [
    "--filter_item_exponent=0.3",
    "--filter_two_hops=0.5",
    "--filter_popularity=0.2",
    "--filter_low_pass=0",
]


@pytest.mark.parametrize("model", ["LightGCN", "TextFilter"])
def test_weights_that_are_given_are_not_sought_where_nothing_can_be_held_out(
    model: str, tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users of two items, and no text: the neighbours that are not looked for may be too few."""
    monkeypatch.chdir(tmp_path)
    two_items_a_user(tiny_dataset)
    align = "none" if model == "TextFilter" else "text_filter"
    text = [f"--filter_{name}=0" for name in ("text", "match", "user_text")]
    run = ["train", f"--model={model}", "--dataset=tiny", f"--align={align}", "--epochs=1"]
    quick = ["--show_progress=False", "--filter_neighbours=99", "--topk=[5]"]
    assert main([*run, *quick, "--valid_metric=Recall@5", *WEIGHTS, *text]) == 0


@pytest.mark.parametrize(
    ("args", "prepare", "words"),
    [
        (["--filter_weight=1.5"], nothing, "filter_weight=1.5 must be at least 0 and at most 1"),
        (["--filter_neighbours=41"], nothing, "only 40 items have a profile; give fewer"),
        (["--filter_low_pass=-1"], nothing, "filter_low_pass=-1 must be at least 0"),
        (["--filter_low_pass_width=0"], nothing, "filter_low_pass_width=0 must be at least 1"),
        (
            ["--profile_control=no_text", "--filter_text=0.3"],
            nothing,
            "filter_text=0.3 is a weight of profiles, and there are none",
        ),
        (["--filter_text=0.3"], no_profiles, "no profile embeddings of the users of tiny"),
        ([], two_items_a_user, "3 training items or more, and there are none"),
        (
            ["--profile_control=no_text", *WEIGHTS[1:]],
            two_items_a_user,
            "and there are none: give filter_item_exponent",
        ),
        (["--align=kar+relational"], nothing, "relational"),
    ],
)
def test_what_is_refused(
    args: list[str],
    prepare: Any,
    words: str,
    tiny_dataset: TinyDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tiny_dataset)
    before = sorted(tmp_path.rglob("*"))
    start = TRAIN if "--align" not in "".join(args) else [w for w in TRAIN if "align" not in w]
    assert main([*start, METRIC, *tiny_dataset.quick[:6], *args]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert told.count("\n") == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["user", "item"])
def test_rows_without_a_profile_are_ranked_all_the_same(
    kind: str,
    tiny_dataset: TinyDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = tiny_dataset.folder / f"tiny.{kind}emb.tokens"
    lines = tokens.read_text().splitlines()
    lines[0], lines[7] = f"{kind}-of-another-set", f"{kind}-of-a-third"
    tokens.write_text("\n".join(lines) + "\n")
    args = [*TRAIN, METRIC, *tiny_dataset.quick[:6], "--filter_weight=1", "--filter_match=1"]
    assert main(args) == 2
    assert "missing_profile" in capsys.readouterr().err
    assert main([*args, "--missing_profile=zero"]) == 0
