"""How NCL's clusters are made, kept and restored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny_runs import one_batch, prepared

from backbones.test_ncl import CLUSTERS, random_graph, without_darecs
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.backbones.ncl import NCL
from recbole_darec.resolve import resolve
from recbole_darec.run import make_trainer, prepare


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("ncl")).data_path


def test_the_padding_is_in_no_cluster_and_prototypes_are_the_members_mean(data_path: Path) -> None:
    model = random_graph(data_path).model
    with torch.no_grad():
        # Far away, it would be a cluster of its own.
        model.user_embedding.weight[0] = 1e3
        model.item_embedding.weight[0] = 1e3
    model.e_step()
    for kind in ("user", "item"):
        rows = getattr(model, f"{kind}_embedding").weight.detach()[1:]
        centers, labels = (getattr(model, f"{kind}_{what}") for what in ("centroids", "2cluster"))
        assert centers.shape == (5, 8)
        assert len(labels) == len(rows) + 1
        assert sorted(set(labels[1:].tolist())) == list(range(5))
        assert not centers.requires_grad
        for n in range(5):
            mean = rows[labels[1:] == n].mean(0)
            torch.testing.assert_close(centers[n], mean / mean.norm(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "align", [name for name in aligner_names() if not aligner_class(name).has_experts()]
)
def test_clusters_depend_on_nothing_but_embeddings_and_seed(align: str, data_path: Path) -> None:
    plain = random_graph(data_path).model
    plain.e_step()
    given = without_darecs(data_path, align=align, num_clusters=5)
    model = prepare(resolve("NCL", "tiny", None, given)).model
    batch = one_batch(random_graph(data_path))
    torch.manual_seed(99)
    model.train()
    model.e_step()
    model.calculate_loss(batch)
    before = torch.get_rng_state()
    model.e_step()
    assert torch.equal(torch.get_rng_state(), before)
    assert model._captured is None
    for name in CLUSTERS:
        assert torch.equal(getattr(model, name), getattr(plain, name)), name
    plain.seed += 1
    plain.e_step()
    assert not torch.equal(model.user_2cluster, plain.user_2cluster)


def test_there_are_at_most_as_many_clusters_as_users_or_items(
    data_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = random_graph(data_path, num_clusters=50, epochs=2, warm_up_step=0)
        assert make_trainer(run).fit(run.train_data, saved=False)
    (said,) = [r.getMessage() for r in caplog.records if "num_clusters" in r.getMessage()]
    assert said == (
        "num_clusters=50 is more than there are to cluster: 50 clusters of 60 users and 40 of 40 "
        "items are made; set num_clusters lower"
    )
    assert len(run.model.user_centroids) == 50
    assert len(run.model.item_centroids) == 40
    caplog.clear()
    random_graph(data_path, num_clusters=40)
    assert not caplog.records


def test_a_step_before_the_first_clustering_says_what_is_missing(data_path: Path) -> None:
    run = random_graph(data_path)
    with pytest.raises(RuntimeError, match=r"before the first e_step\(\)"):
        run.model.calculate_loss(one_batch(run))


def test_a_checkpoint_brings_the_clusters_back(data_path: Path) -> None:
    first, second = (random_graph(data_path).model for _ in range(2))
    first.e_step()
    with torch.no_grad():
        first.user_embedding.weight += 1.0
    second.load_other_parameter(first.other_parameter())
    for name in CLUSTERS:
        assert torch.equal(getattr(first, name), getattr(second, name))


class WithoutClusters(NCL):
    """Like RecBole's NCL, whose clusters are in no checkpoint."""

    other_parameter_names: ClassVar = ["restore_user_e", "restore_item_e"]

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.other_parameter_name = self.other_parameter_names


WithoutClusters.__name__ = "NCL"


@pytest.mark.parametrize(("model", "epochs"), [("NCL", [1, 2, 3, 4]), (WithoutClusters, [3])])
def test_a_run_can_go_on_between_two_clusterings_if_they_are_kept(
    model: Any,
    epochs: list[int],
    data_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import recbole_darec.training.snapshots as module

    seen = []
    save = module.save_checkpoint
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        module, "save_checkpoint", lambda content, path: seen.append(content) or save(content, path)
    )
    run = prepared(data_path, model, align="none", epochs=5, m_step=3, num_clusters=4)
    make_trainer(run).fit(run.train_data, run.valid_data)
    snapshots = [content for content in seen if "next_epoch" in content]
    assert [content["next_epoch"] for content in snapshots] == epochs
    if model == "NCL":
        labels = [content["other_parameter"]["user_2cluster"] for content in snapshots]
        assert torch.equal(labels[0], labels[1])
        assert torch.equal(labels[2], run.model.user_2cluster)
