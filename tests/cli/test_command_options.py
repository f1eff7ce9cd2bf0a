"""Parsers filled from declared options, and options read back from arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import CommandOptions, option


class Sample(CommandOptions):
    """One option of each kind."""

    name: str = option(..., "A name.", metavar="NAME")
    count: int = option(3, "Share 50% of them.", low=1, flag="how-many")
    share: float | None = option(0.5, "A share; none is no share.", high=1.0)
    folder: Path = option(Path("here"), "A folder.", metavar="DIR")
    mode: str | None = option(None, "A mode.", choices=("mean", "sum"))
    parts: tuple[str, ...] = option((), "Parts.", flag="part", metavar="P[,P]")
    loud: bool = option(False, "Whether it is loud.")
    inner: int = 7


def read(*words: str, inner: int = 7) -> Sample:
    parser = argparse.ArgumentParser()
    add_options(parser, Sample)
    return options_from(parser.parse_args(["--name=a", *words]), Sample, inner=inner)


def test_what_is_not_given_has_the_declared_default() -> None:
    assert read() == Sample(name="a")
    assert read(inner=8).inner == 8


def test_texts_become_the_declared_types() -> None:
    found = read(
        "--how-many=4",
        "--share=1",
        "--folder=a/b",
        "--mode=sum",
        "--part=x, y",
        "--part=z",
        "--loud",
    )
    assert found == Sample(
        name="a",
        count=4,
        share=1.0,
        folder=Path("a/b"),
        mode="sum",
        parts=("x", "y", "z"),
        loud=True,
    )
    assert read("--share=none").share is None
    assert read("--mode=mean").mode == "mean"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--how-many=0", "--how-many=0 must be at least 1"),
        ("--how-many=1.5", "--how-many='1.5' is not an int (at least 1)"),
        ("--how-many=few", "--how-many='few' is not an int (at least 1)"),
        ("--share=2", "--share=2 must be at most 1"),
        ("--share=nan", "--share=nan is not a finite number (at most 1)"),
        ("--share=half", "--share='half' is not a float or none (at most 1)"),
        ("--mode=men", "--mode='men' must be one of mean, sum (did you mean 'mean'?)"),
    ],
)
def test_a_wrong_value_is_told_by_its_flag(word: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        read(word)
    assert str(caught.value) == message


def test_the_help_has_names_sentences_and_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Sample, skip={"folder"}, defaults={"share": 0.25, "name": None})
    text = " ".join(parser.format_help().split())
    assert "--how-many N Share 50% of them (default: 3)" in text
    assert "--share N A share; none is no share (default: 0.25)" in text
    assert "--mode mean|sum A mode --part P[,P] Parts --loud Whether it is loud" in text
    assert "--folder" not in text
    assert "--inner" not in text
    args = parser.parse_args([])
    assert args.share == 0.25
    with pytest.raises(OptionError, match="--name is missing: A name"):
        options_from(args, Sample)


def test_a_reader_of_ones_own_reads_the_text() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Sample)
    args = parser.parse_args(["--name=a", "--share=50"])
    found = options_from(args, Sample, read={"share": lambda text: float(text) / 100})
    assert found.share == 0.5
