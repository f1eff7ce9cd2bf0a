"""AutoCF: its losses and embeddings against loops; when the mask is renewed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from alignment.equations import naive
from tiny_runs import one_batch, options, prepared

from backbones.naive import Edges, edges_of, edges_of_graph, naive_relatedness
from backbones.test_autocf_equations import naive_attention, naive_mean_log_sum_exp
from recbole_darec.backbones.autocf import AutoCF
from recbole_darec.backbones.autocf_masking import log_relatedness, unweighted
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("autocf")).data_path


def run_of(data_path: Path, **changed: Any) -> Prepared:
    given = {"n_seeds": 3, "mask_depth": 2, "mask_every": 3, "reg_weight": 0.01, **changed}
    run = prepared(data_path, "AutoCF", align="none", **given)
    torch.manual_seed(17)
    for value in run.model.parameters():
        torch.nn.init.normal_(value, std=0.5)
    return run


# ---- the model ---------------------------------------------------------------------------------


def expected_embeddings(
    model: Any, matrix: torch.Tensor, edges: Edges
) -> tuple[torch.Tensor, torch.Tensor]:
    """All layers by dense products and loops in float64, added up."""
    layers = [model.get_ego_embeddings().detach().double()]
    for _ in range(model.n_layers):
        layers.append(matrix.double() @ layers[-1])
    for layer in model.decoder:
        q, k, v = (
            layers[-1] @ m.weight.detach().double().T for m in (layer.query, layer.key, layer.value)
        )
        layers.append(naive_attention(edges, q, k, v, model.options.n_heads))
    users, items = torch.stack(layers).sum(0).split([model.n_users, model.n_items])
    return users, items


@pytest.mark.parametrize("reg_form", ["batch", "full"])
def test_the_loss_is_the_loop_over_the_batch(reg_form: str, data_path: Path) -> None:
    run = run_of(
        data_path, ssl_weight=0.7, reg_form=reg_form, train_batch_size=20, gt_layers=2, n_heads=2
    )
    model, batch = run.model, one_batch(run)
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.2)
    model.train()
    parts = model.calculate_loss(batch)
    encoder, decoder = model.masked_graphs
    assert len(encoder.columns) < len(model.graph.columns)
    users, items = expected_embeddings(model, encoder.matrix().to_dense(), edges_of(decoder))
    user, item = batch["user_id"], batch["item_id"]
    assert len(set(user.tolist())) < len(user)
    assert len(set(item.tolist())) < len(item)

    pairs = zip(users[user].tolist(), items[item].tolist())
    wanted = -math.fsum(naive.dot(u, i) for u, i in pairs) / len(user)
    if reg_form == "full":
        values = [value for name, value in model.named_parameters()]
        wanted += 0.01 * math.fsum(float(x) ** 2 for v in values for x in v.detach().reshape(-1))
    else:
        tables = ("user_embedding", "user_id"), ("item_embedding", "item_id")
        tables += (("item_embedding", "neg_item_id"),)
        norms = [float(getattr(model, t)(batch[n]).detach().norm()) for t, n in tables]
        wanted += 0.01 * math.fsum(norms) / len(user)
    assert float(parts[0].detach()) == pytest.approx(wanted, rel=1e-4)

    # The padding in row 0 is no candidate.
    within = naive_mean_log_sum_exp(users, users[1:], sorted(set(user.tolist())))
    within += naive_mean_log_sum_exp(items, items[1:], sorted(set(item.tolist())))
    wanted = 0.7 * within + naive_mean_log_sum_exp(users, items[1:], user.tolist())
    assert float(parts[1].detach()) == pytest.approx(wanted, rel=1e-4)

    ego = model.get_ego_embeddings().detach().double().tolist()
    scores = naive_relatedness(ego, edges_of(model.pattern))
    real = [s for n, s in enumerate(scores) if n not in (0, model.n_users)]
    assert float(parts[2].detach()) == pytest.approx(-math.fsum(real) / len(real), rel=1e-4)


@pytest.mark.parametrize("self_loops", [True, False])
def test_ranking_is_by_the_whole_graph_and_draws_nothing(self_loops: bool, data_path: Path) -> None:
    run = run_of(data_path, self_loops=self_loops)
    model, batch = run.model, one_batch(run)
    assert isinstance(model, AutoCF)
    model.train()
    model.calculate_loss(batch)
    model.eval()
    before = torch.get_rng_state()
    scores = model.full_sort_predict(batch).view(len(batch["user_id"]), -1)
    pairs = model.predict(batch)
    infomax = model.calculate_loss(batch)[2]
    assert torch.equal(torch.get_rng_state(), before)
    assert float(infomax) == 0.0
    edges = edges_of(model.pattern)
    n_nodes = model.n_users + model.n_items
    assert all(((n, n) in edges) == self_loops for n in range(n_nodes))
    degree = [sum(i == n for i, _ in edges) for n in range(n_nodes)]
    matrix = torch.zeros(n_nodes, n_nodes)
    for i, j in edges:
        matrix[i, j] = 1.0 / math.sqrt(degree[i] * degree[j])
    users, items = expected_embeddings(model, matrix, edges)
    torch.testing.assert_close(
        scores.double(), users[batch["user_id"]] @ items.T, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(pairs, scores.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1))


def test_the_mask_is_renewed_every_so_many_steps_and_at_an_epochs_start(data_path: Path) -> None:
    run = run_of(data_path, mask_every=3)
    model, batch = run.model, one_batch(run)
    model.train()
    drawn, infomax = [], []
    for step in range(7):
        infomax.append(float(model.calculate_loss(batch)[2].detach()))
        drawn.append(model.masked_graphs)
        assert step == 0 or (drawn[-1] is not drawn[-2]) == (step % 3 == 0)
    assert [value != 0.0 for value in infomax] == [step % 3 == 0 for step in range(7)]
    model.calculate_loss(batch)
    model.train()
    assert float(model.calculate_loss(batch)[2].detach()) != 0.0
    assert model.masked_graphs is not drawn[-1]
    assert not torch.equal(model.masked_graphs[1].columns, drawn[-1][1].columns)


def test_an_epochs_masks_are_those_of_the_restored_random_state(data_path: Path) -> None:
    run = run_of(data_path, mask_every=2)
    model, batch = run.model, one_batch(run)
    model.train()
    model.calculate_loss(batch)  # the epoch before, not a whole number of masks
    state, kept = torch.get_rng_state(), []
    for _ in range(2):
        torch.set_rng_state(state)
        model.train()
        parts = [model.calculate_loss(batch) for _ in range(3)]
        kept.append([[float(p.detach()) for p in part] for part in parts])
        model.eval()
    assert kept[0] == kept[1]


@pytest.mark.parametrize("keep_nodes", [0.0, 1.0])
def test_padding_is_never_masked(keep_nodes: float, data_path: Path) -> None:
    run = run_of(data_path, n_seeds=100, keep_nodes=keep_nodes)
    model = run.model
    padding = {0, model.n_users}
    for _ in range(5):
        model.renew_mask()
        encoder, decoder = model.masked_graphs
        assert all(i == j for i, j in edges_of(decoder) if padding & {i, j})
        # All nodes are seeds: only the padding's self-loops are left.
        assert edges_of_graph(encoder) == {(n, n) for n in padding}


def test_more_seeds_than_nodes_are_all_of_them_and_are_warned_of_once(
    data_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = run_of(data_path, n_seeds=101)
        assert run.model.n_seeds == 100
        run.model.train()
        for batch in run.train_data:
            run.model.calculate_loss(batch)
    warnings = [r.getMessage() for r in caplog.records if "n_seeds" in r.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("n_seeds=101 is more than there are users and items")


@pytest.mark.parametrize(
    ("n_seeds", "mask_depth", "warned"), [(100, 1, True), (30, 2, True), (30, 1, False)]
)
def test_a_mask_that_leaves_few_edges_is_warned_of_once(
    n_seeds: int,
    mask_depth: int,
    warned: bool,
    data_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = run_of(data_path, n_seeds=n_seeds, mask_depth=mask_depth).model
    with caplog.at_level(logging.WARNING):
        model.renew_mask()
        left = [
            len([1 for i, j in edges_of_graph(graph) if i != j])
            for graph in (model.masked_graphs[0], model.graph)
        ]
        model.renew_mask()
    told = [r.getMessage() for r in caplog.records]
    share = left[0] / left[1]
    assert (share < 0.1) is warned
    assert told == (
        [
            f"n_seeds={n_seeds} with mask_depth={mask_depth} leaves the encoder "
            f"{100 * share:.1f} % of the training edges; lower n_seeds"
        ]
        if warned
        else []
    )


def test_the_mask_is_drawn_by_the_embeddings_that_no_aligner_has_masked(data_path: Path) -> None:
    given = options(data_path, align="rlmrec_gen", mask_ratio=0.5, n_seeds=3)
    given = {name: value for name, value in given.items() if not name.startswith("align_")}
    run = prepare(resolve("AutoCF", "tiny", None, given))
    model, batch = run.model, one_batch(run)
    model.train()
    losses = model.calculate_loss(batch)
    parts = dict(zip(model.loss_names, losses))
    tables = torch.cat([model.user_embedding.weight, model.item_embedding.weight])
    scores = log_relatedness(tables, unweighted(model.graph))[model.real_nodes]
    torch.testing.assert_close(parts["base2"], -scores.mean())


def test_the_infomax_loss_makes_nodes_like_their_subgraphs(data_path: Path) -> None:
    run = run_of(data_path)
    model, losses = run.model, []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(10):
        loss = model.renew_mask()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05
    assert math.log1p(math.exp(-1.0)) < losses[-1] < math.log1p(math.exp(1.0))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n_heads": 3}, "n_heads=3 does not divide embedding_size=8"),
        ({"n_heads": 0}, "n_heads=0 must be at least 1"),
        ({"n_seeds": 0}, "n_seeds=0 must be at least 1"),
        ({"mask_depth": 0}, "mask_depth=0 must be at least 1"),
        ({"mask_every": 0}, "mask_every=0 must be at least 1"),
        ({"gt_layers": 0}, "gt_layers=0 must be at least 1"),
        ({"keep_nodes": 1.5}, "keep_nodes=1.5 must be at least 0 and at most 1"),
        ({"ssl_weight": -1.0}, "ssl_weight=-1.0 must be at least 0"),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        run_of(data_path, **changed)
