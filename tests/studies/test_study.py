"""A study's yaml: which runs it stands for, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from recbole_darec.errors import OptionError
from recbole_darec.resources import properties_dir
from recbole_darec.studies.plan import make_plan
from recbole_darec.studies.resolved import Resolver, metric_names
from recbole_darec.studies.results import open_results
from recbole_darec.studies.search import tuning_trials
from recbole_darec.studies.study import Method, Study, Trial, read_study

Make = Callable[..., Study]


def test_methods_are_data_sets_times_backbones_times_aligners_and_their_variants(
    make_study: Make,
) -> None:
    study = make_study(
        backbones={"LightGCN": {"n_layers": 2}, "SimGCL": None},
        alone=["Pop"],
        variants={"no_text": {"align": "text_filter", "set": {"profile_control": "no_text"}}},
        seeds=1,
        more_seeds=[{"model": "LightGCN", "align": ["none"], "seeds": [2, 1]}],
    )
    found = [(m.backbone, m.name, study.seeds(m)) for m in study.methods()]
    assert found == [
        ("LightGCN", "none", [1, 2]),
        ("LightGCN", "text_filter", [1]),
        ("LightGCN", "text_filter no_text", [1]),
        ("SimGCL", "none", [1]),
        ("SimGCL", "text_filter", [1]),
        ("SimGCL", "text_filter no_text", [1]),
        ("alone", "Pop", [1]),
    ]
    third = study.methods()[2]
    given = Trial(third, 7, {"learning_rate": 0.5}).given
    assert given["n_layers"] == 2
    assert given["learning_rate"] == 0.5
    assert given["profile_control"] == "no_text"
    assert given["seed"] == 7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"datsets": ["tiny"]}, "unknown key 'datsets' (did you mean 'datasets'?)"),
        ({"seeds": None}, "seeds is missing"),
        ({"seeds": []}, "'seeds' is empty"),
        ({"seeds": ["a"]}, "seeds=['a'] is not a list of int"),
        ({"name": "a/b"}, "name='a/b' is to name a folder"),
        ({"backbones": ["LightGNC"]}, "unknown model 'LightGNC' (did you mean 'LightGCN'?)"),
        ({"aligners": ["none", "drec"]}, "unknown align 'drec' (did you mean 'darec'?)"),
        ({"aligners": ["darec"], "variants": None}, "base='none' is none of the aligners"),
        ({"variants": {"a": {"align": "darec", "set": {}}}}, "asks for align 'darec'"),
        ({"variants": {"a": {"algn": "none", "set": {}}}}, "did you mean 'align'?"),
        ({"variants": {"a": {"align": "none"}}}, "variant 'a' is a mapping with 'set'"),
        (
            {"variants": {"a": {"align": "none", "tuned": 1, "set": {}}}},
            "variant 'a': 'tuned' is true or false, not 1",
        ),
        ({"more_seeds": [{"seeds": "x"}]}, "is not a list of whole numbers"),
        ({"tune": {"trails": 3}}, "unknown key 'trails' under 'tune' (did you mean 'trials'?)"),
        ({"tune": {"trials": 0}}, "trials=0 must be at least 1"),
    ],
)
def test_a_faulty_study_is_one_line(
    make_study: Make, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        make_study(**changed)


def test_a_missing_study_names_the_bundled_ones() -> None:
    with pytest.raises(OptionError, match=r"neither a file nor bundled \(did you mean 'text_filt"):
        read_study("text_filtr")


STUDIES = [
    *(properties_dir() / "study").glob("*.yaml"),
    *(REPOSITORY / "docs" / "results" / "studies").glob("*.yaml"),
]


@pytest.mark.parametrize("path", sorted(STUDIES), ids=lambda path: path.stem)
def test_the_studies_that_there_are_resolve(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option of each run is known, those that tuning tries, too."""
    monkeypatch.chdir(tmp_path)
    study = read_study(str(path))
    assert study.name == path.stem
    assert study.options.question
    first = study.methods()[0].dataset  # the others differ in their split
    (tmp_path / "dataset" / first).mkdir(parents=True)
    resolver = Resolver(tmp_path, lambda path: "")
    for method in (method for method in study.methods() if method.dataset == first):
        for trial in (*tuning_trials(study, method), Trial(method, 1)):
            values = resolver.settings(trial).values
            asked = {study.options.metric.lower(), *study.options.report}
            assert asked <= metric_names(values)


def test_a_variant_may_be_tuned_by_itself(make_study: Make, tmp_path: Path) -> None:
    rates = {"learning_rate": [0.1, 0.2]}
    study = make_study(
        aligners=["none"],
        variants={
            "deep": {"tuned": True, "set": {"n_layers": 2}},
            "wide": {"set": {"embedding_size": 16}},
        },
        tune={"trials": 2, "space": {"LightGCN": {}, "none": rates}},
    )
    with open_results(tmp_path / "s.sqlite") as store:
        plan = make_plan(study, Resolver(study.folder, store.digest_of), {})
    tried = [
        (r.trial.method.name, r.values["n_layers"], r.values["learning_rate"]) for r in plan.runs
    ]
    assert tried == [
        ("none", 1, 0.1),
        ("none", 1, 0.2),
        ("none deep", 2, 0.1),
        ("none deep", 2, 0.2),
    ]
    assert all(run.trial.tuning for run in plan.runs)
    assert plan.n_waiting == 6


def test_a_run_that_tells_buckets_apart_has_their_metrics() -> None:
    values = {"metrics": ["Hit"], "topk": [10], "result_buckets": 3}
    assert metric_names(values) == {
        "hit", "hit@10", "hit@10 warm", "hit@10 median", "hit@10 cold",
    }  # fmt: skip


def test_bundled_studies_are_read_by_name() -> None:
    assert read_study("text_filter").name == "text_filter"


def test_a_study_that_extends_another_has_its_keys(
    write_study: Callable[..., Path], tmp_path: Path
) -> None:
    write_study(tune={"trials": 2})
    inner = tmp_path / "others"
    inner.mkdir()
    (inner / "wide.yaml").write_text(
        "extends: ../study.yaml\nname: wide\ncommon: {epochs: 3}\ntune: ~\n", encoding="utf-8"
    )
    (inner / "few.yaml").write_text("extends: wide.yaml\nname: few\nseeds: [7]\n")
    base, wide, few = (
        read_study(str(tmp_path / name))
        for name in ("study.yaml", "others/wide.yaml", "others/few.yaml")
    )
    changed = {"extends": "../study.yaml", "name": "wide", "common": {"epochs": 3}, "tune": None}
    assert vars(wide.options) == {**vars(base.options), **changed}
    assert vars(few.options) == {
        **vars(wide.options), "extends": "wide.yaml", "name": "few", "seeds": [7],
    }  # fmt: skip
    assert wide.tune is None
    assert base.tune is not None


def test_a_bundled_study_may_be_extended(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: text_filter\nname: mine\nseeds: [9]\n", encoding="utf-8")
    mine, bundled = read_study(str(path)), read_study("text_filter")
    assert mine.options.aligners == bundled.options.aligners
    assert mine.options.seeds == [9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("extends: text_filtr\nname: a", "a.yaml': extends: study 'text_filtr' is neither a file"),
        ("extends: [text_filter]\nname: a", "extends=['text_filter'] is not"),
        ("extends: text_filter", "name is missing"),
        ("extends: a.yaml\nname: a", "a.yaml' extends itself: take 'extends' out of"),
    ],
)
def test_what_cannot_be_extended_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content + "\n", encoding="utf-8")
    with pytest.raises(OptionError, match=re.escape(message)) as caught:
        read_study(str(path))
    assert "\n" not in str(caught.value)


def test_a_key_is_of_the_whole_configuration_and_of_the_data(
    make_study: Make, tmp_path: Path
) -> None:
    def keys(**changed: Any) -> dict[tuple[str, int], str]:
        study = make_study(**changed)
        with open_results(tmp_path / "s.sqlite") as store:
            plan = make_plan(study, Resolver(study.folder, store.digest_of), {})
        return {(run.trial.method.name, run.trial.seed): run.key for run in plan.runs}

    first = keys()
    assert len(set(first.values())) == len(first) == 6
    assert keys(seeds=[2, 1]) == first
    common = {"epochs": 2, "embedding_size": 8, "n_layers": 1, "train_batch_size": 64,
              "metrics": ["Recall", "NDCG"], "topk": [5, 10]}  # fmt: skip
    # How a run is shown or where its data lie changes nothing, what it computes does.
    assert keys(common={**common, "snapshot_every": 5, "data_path": "dataset"}) == first
    other = keys(common={**common, "epochs": 3})
    assert not set(other.values()) & set(first.values())

    profiles = tmp_path / "dataset" / "tiny" / "tiny.itememb.npy"
    content = bytearray(profiles.read_bytes())
    content[-1] ^= 1
    profiles.write_bytes(content)
    changed = keys()
    for place, key in first.items():
        reads_profiles = place[0] == "text_filter"
        assert (changed[place] != key) == reads_profiles, place

    interactions = tmp_path / "dataset" / "tiny" / "tiny.train.inter"
    interactions.write_text(interactions.read_text() + "u0\ti39\n")
    assert not set(keys().values()) & set(changed.values())


def test_equal_runs_have_one_key_whatever_they_are_called(make_study: Make, tmp_path: Path) -> None:
    study = make_study(variants={"again": {"align": "none", "set": {"n_layers": 1}}})
    with open_results(tmp_path / "s.sqlite") as store:
        plan = make_plan(study, Resolver(study.folder, store.digest_of), {})
    keys = {(r.trial.method.name, r.trial.seed): r.key for r in plan.runs}
    assert keys["none", 1] == keys["none again", 1]
    assert len(plan.keys) == 4


def test_a_method_says_where_it_stands() -> None:
    alone = Method("d", "EASE", "none", "k=5", alone=True)
    assert (alone.backbone, alone.name) == ("alone", "EASE k=5")
