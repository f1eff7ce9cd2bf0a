"""Typed options: declarations, checks, and the property files that document them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec import resources
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.backbones.registry import (
    BACKBONES,
    backbone_class,
    backbone_family,
    backbone_options,
    read_options,
)
from recbole_darec.errors import OptionError
from recbole_darec.filters.options import FilterOptions
from recbole_darec.resources import properties_dir
from recbole_darec.settings.options import (
    Options,
    declarations,
    documentation,
    option,
    option_names,
    options_from_config,
    parse_options,
)
from recbole_darec.settings.run_options import COMMON_OPTIONS, FAMILY_OPTIONS
from recbole_darec.settings.values import read_yaml

# Which property file documents which groups.
GROUPS: list[tuple[str, type[Options]]] = [
    *(("overall.yaml", group) for group in COMMON_OPTIONS),
    *((f"family/{family}.yaml", group) for family, group in FAMILY_OPTIONS.items()),
    *((f"model/{name}.yaml", read_options(location)) for name, location in BACKBONES.items()),
    *(
        (f"align/{name}.yaml", aligner_class(name).Options)
        for name in aligner_names()
        if option_names(aligner_class(name).Options)
    ),
]
OPTIONS = [
    pytest.param(file, *row, id=f"{file}:{row[0]}")
    for file, group in GROUPS
    for row in documentation(group)
]


class Sample(Options):
    """One option of each kind."""

    count: int = option(3, "A count.", low=1)
    share: float = option(0.5, "A share.", above=0.0, high=1.0)
    below: float = option(0.5, "A number.", low=0.0, below=1.0)
    size: int | str = option(10, "A size.", low=2, or_word="all")
    widths: list[int] = option([64], "Widths.", low=1)
    mode: str = option("mean", "A mode.", choices=("mean", "sum"))
    flag: bool = option(True, "A flag.")
    path: str | None = option(None, "A path.")


# ---- property files --------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "name", "kind", "default", "sentence"), OPTIONS)
def test_each_option_is_documented_in_its_property_file_with_the_same_default(
    file: str, name: str, kind: str, default: Any, sentence: str
) -> None:
    path = properties_dir() / file
    values = read_yaml(path)
    assert name in values, f"{name} is missing in properties/{file}"
    assert values[name] == default
    assert type(values[name]) is type(default)
    # The comment beside the value, which goes on below it.
    lines = re.search(rf"^{name}:.*\n(?: +#.*\n)*", path.read_text("utf-8"), re.M)
    assert lines
    comment = " ".join(line.partition("# ")[2] for line in lines[0].splitlines())
    assert comment == f"({kind}) {sentence}"
    assert sentence.endswith(".")


def test_property_files_hold_no_option_that_nobody_declares() -> None:
    """Keys with a '(type)' comment are ours: each must be declared by a group of that file."""
    for path in sorted(properties_dir().rglob("*.yaml")):
        relative = path.relative_to(properties_dir()).as_posix()
        ours = re.findall(
            r"^(\w+):.*#\s+\((?:int|float|str|bool|list)[\w ]*", path.read_text(), re.M
        )
        declared = {name for file, group in GROUPS for name in option_names(group)}
        declared |= {name for file, group in GROUPS for name in group.RECBOLE_DEFAULTS}
        assert set(ours) <= declared, relative


def test_no_two_groups_of_one_run_declare_the_same_option() -> None:
    """A run has every common group, one backbone's and one aligner's."""
    of = {
        kind: [(file, group) for file, group in GROUPS if file.startswith(kind)]
        for kind in ("overall", "family", "model", "align")
    }
    families = {file.removeprefix("family/"): group for file, group in of["family"]}
    for file, backbone in of["model"]:
        family = backbone_family(Path(file).stem)
        common = [group for _, group in of["overall"]]
        common += [group for name, group in families.items() if Path(name).stem == family]
        for other, aligner in of["align"]:
            shared = {FilterOptions} if {FilterOptions} <= {*backbone.__mro__} else set()
            if shared and shared <= {*aligner.__mro__}:
                continue  # the same options, declared once, for the filter in both places
            names = option_names(*common, backbone, aligner)
            assert len(names) == len(set(names)), f"{file} and {other}"


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbones_options_are_read_as_an_import_gives_them(name: str) -> None:
    """In a process without torch its file is read, and not run."""
    real = backbone_class(name).Options
    code = (
        "import json, sys\n"
        "from recbole_darec.backbones.registry import BACKBONES, read_options\n"
        "from recbole_darec.settings.options import declarations, documentation\n"
        f"group = read_options(BACKBONES[{name!r}])\n"
        "assert not {'torch', 'recbole', 'numpy'} & set(sys.modules)\n"
        "print(json.dumps([group.__module__, group.__qualname__, documentation(group),\n"
        "                  {k: repr(v) for k, v in declarations(group).items()},\n"
        "                  group.RECBOLE_DEFAULTS, group.check_together.__qualname__]))\n"
    )
    root = str(Path(resources.__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        real.__module__,
        real.__qualname__,
        [list(row) for row in documentation(real)],
        {key: repr(value) for key, value in declarations(real).items()},
        real.RECBOLE_DEFAULTS,
        real.check_together.__qualname__,
    ]
    assert backbone_options(name) is not None


# ---- checks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_value", "wanted"),
    [
        ({"count": 4}, 4),
        ({"count": 4.0}, 4),
        ({"share": 1}, 1.0),
        ({"below": 0}, 0.0),
        ({"size": "all"}, "all"),
        ({"size": 2}, 2),
        ({"widths": []}, []),
        ({"widths": 32}, [32]),
        ({"widths": (32, 16)}, [32, 16]),
        ({"mode": "sum"}, "sum"),
        ({"flag": False}, False),
        ({"path": None}, None),
        ({"path": "a b"}, "a b"),
    ],
)
def test_permitted_values_take_the_declared_type(given_value: dict[str, Any], wanted: Any) -> None:
    ((name, _),) = given_value.items()
    value = getattr(parse_options(Sample, given_value), name)
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count", 0, "at least 1"),
        ("count", 1.5, "int"),
        ("count", True, "int"),
        ("count", "4", "int"),
        ("count", None, "int"),
        ("count", math.inf, "int"),
        ("count", math.nan, "int"),
        ("share", 0, "above 0 and at most 1"),
        ("share", 1.01, "above 0 and at most 1"),
        ("share", math.nan, "finite"),
        ("share", math.inf, "finite"),
        ("share", 10**400, "finite"),
        ("share", False, "float"),
        ("below", 1, "at least 0 and below 1"),
        ("size", 1, "at least 2 or 'all'"),
        ("size", "every", "at least 2 or 'all'"),
        ("size", 2.5, "at least 2 or 'all'"),
        ("widths", [64, 0], "at least 1"),
        ("widths", "64", "list of int"),
        ("widths", [64, "a"], "list of int"),
        ("widths", {"a": 1}, "list of int"),
        ("mode", "men", "did you mean 'mean'"),
        ("mode", 3, "one of mean, sum"),
        ("flag", "yes", "bool"),
        ("flag", 1, "bool"),
        ("path", 3, "str"),
    ],
)
def test_a_value_that_is_not_permitted_is_an_error_that_names_it(
    name: str, value: Any, words: str
) -> None:
    with pytest.raises(OptionError) as caught:
        parse_options(Sample, {name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r}"[:60])
    assert words in message
    assert "\n" not in message


def test_other_groups_keys_are_left_alone_and_absent_ones_keep_the_default() -> None:
    assert parse_options(Sample, {"elsewhere": 1}) == Sample()
    assert Sample().widths is not Sample().widths


def test_options_are_read_from_whatever_answers_like_a_config() -> None:
    class Config(dict):  # type: ignore[type-arg]
        def __getitem__(self, key: str) -> Any:
            return self.get(key)  # RecBole's Config answers None for what it has not

    assert options_from_config(Sample, Config(count=7)) == Sample(count=7)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=4,
    ),
    name=st.sampled_from(list(Sample.model_fields)),
)
def test_any_value_is_either_taken_or_refused_by_name(value: Any, name: str) -> None:
    refused = None
    try:
        taken = getattr(parse_options(Sample, {name: value}), name)
    except OptionError as error:
        refused = str(error)
    if refused is None:
        # What was taken is taken again: checking is idempotent.
        assert getattr(parse_options(Sample, {name: taken}), name) == taken
    else:
        assert refused.startswith(f"{name}=")
        assert len(refused) < 300


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    assert Sample(count=4).count == 4
    with pytest.raises(OptionError, match=r"unknown option 'cuont' .*'count'"):
        Sample(count=4, cuont=5)


def test_documentation_says_type_bounds_default_and_sentence() -> None:
    rows = {row[0]: row[1:] for row in documentation(Sample)}
    assert rows["count"] == ("int, at least 1", 3, "A count.")
    assert rows["share"] == ("float, above 0 and at most 1", 0.5, "A share.")
    assert rows["size"] == ("int or str, at least 2 or 'all'", 10, "A size.")
    assert rows["widths"] == ("list of int, at least 1", [64], "Widths.")
    assert rows["mode"] == ("str, one of mean, sum", "mean", "A mode.")
    assert rows["path"] == ("str or null", None, "A path.")
