"""A sequential backbone and its aligner: one item table that reads and ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recbole_darec.data.sequences import PLACES
from recbole_darec.errors import OptionError
from recbole_darec.filters.equations import standardised
from recbole_darec.filters.histories import HistoryScores
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare
from recbole_darec.testing.tiny_runs import one_batch, options, scores
from recbole_darec.testing.tiny_sequences import write_tiny_sequences

SMALL: dict[str, Any] = {"hidden_size": 8, "inner_size": 8, "train_batch_size": 16}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sequences(tmp_path_factory.mktemp("data") / "dataset").data_path


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_of(tiny: Path, align: str, model: str = "SASRec", **changed: Any) -> Prepared:
    given = {**options(tiny, align=align), **(SMALL if model == "SASRec" else {}), **changed}
    if align not in ("none", "darec"):  # whose options are among the quick ones
        given = {name: value for name, value in given.items() if not name.startswith("align_")}
    return prepare(resolve(model, "tiny", None, given))


def test_what_an_aligner_makes_of_the_table_reads_and_ranks(tiny: Path) -> None:
    run = run_of(tiny, "kar")
    model = run.model
    found = scores(run)
    rows = model._altered_tables()["item"]
    plain = run_of(tiny, "none")
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("alignment.")}
    plain.model.load_state_dict({**weights, "item_embedding.weight": rows})
    assert torch.allclose(found, scores(plain), rtol=0.0, atol=1e-5)
    assert not torch.equal(rows[1:], model.item_embedding.weight[1:])


def test_the_loss_is_that_of_the_altered_table(tiny: Path) -> None:
    run = run_of(tiny, "kar", hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    plain = run_of(tiny, "none", hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    rows = run.model._altered_tables()["item"]
    weights = {k: v for k, v in run.model.state_dict().items() if not k.startswith("alignment.")}
    plain.model.load_state_dict({**weights, "item_embedding.weight": rows})
    batch = one_batch(run)
    loss, expected = (r.model.train().calculate_loss(batch) for r in (run, plain))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_step_names_targets_negatives_and_history_without_padding(tiny: Path) -> None:
    run = run_of(tiny, "darec")
    batch = one_batch(run)
    step = run.model._rows_of(batch, {})
    assert set(step) == {"item", "neg_item", "history"}
    assert torch.equal(step["item"] + 1, batch["item_id"])
    assert len(step["history"]) == int(batch["item_length"].sum()) == len(batch[PLACES])
    assert min(int(rows.min()) for rows in step.values()) >= 0


@pytest.mark.parametrize("rows", ["positions", "prefixes"])
def test_the_score_is_the_product_of_what_is_encoded_and_the_targets_rows(
    tiny: Path, rows: str
) -> None:
    run = run_of(tiny, "none", training_rows=rows, rank_loss="bce")
    run.model.eval()
    batch = one_batch(run)
    encoded, table = run.model.encode(batch), run.model.item_embedding.weight
    assert encoded.shape == (len(batch["item_id"]), 8)
    positive, negative = ((encoded * table[batch[f]]).sum(1) for f in ("item_id", "neg_item_id"))
    expected = -torch.nn.functional.logsigmoid(positive).mean()
    expected -= torch.nn.functional.logsigmoid(-negative).mean()
    loss = run.model.calculate_loss(batch)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_class_of_ones_own_is_trained_and_the_general_mixin_is_refused(tiny: Path) -> None:
    from recbole.model.sequential_recommender import SASRec

    from recbole_darec import DaRecMixin

    class Mine(SASRec):
        """A user's own model."""

    class Joined(DaRecMixin, SASRec):
        """A user's own model, joined by hand as a general one is."""

    # RecBole's defaults go by the name of its own class.
    needed = {
        "n_heads": 1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "hidden_dropout_prob": 0.1,
        "attn_dropout_prob": 0.1,
    }
    given = {**options(tiny, align="darec"), **SMALL, **needed, "rank_loss": "bpr"}
    run = prepare(resolve(Mine, "tiny", None, given))
    assert run.model.reads_positions
    assert "or" in _named_parts(run)
    with pytest.raises(OptionError, match=r"'SASRec' learns no users: give the class itself"):
        prepare(resolve(Joined, "tiny", None, given))


def test_positions_are_read_where_products_are_asked_to_be_fast(tiny: Path) -> None:
    # bfloat16 products differ by more than what tells a model that reads ahead.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        run = run_of(tiny, "none", hidden_size=64, inner_size=256, n_layers=2)
        assert run.model.reads_positions
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def _named_parts(run: Prepared) -> tuple[str, ...]:
    run.model.train().calculate_loss(one_batch(run))
    names: tuple[str, ...] = run.model.loss_names
    return names


def test_a_weight_of_user_profiles_is_refused(tiny: Path) -> None:
    given = {"eval_mask": "none", "topk": [3], "valid_metric": "Recall@3"}
    with pytest.raises(OptionError, match=r"filter_user_text=0\.3 .* by their items alone: leave"):
        run_of(tiny, "text_filter", filter_user_text=0.3, **given)


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser", "MarkovChain"])
def test_the_text_filter_scores_what_the_model_is_asked_with(tiny: Path, model: str) -> None:
    given = {"filter_text": 0.4, "filter_match": 0.2, "filter_popularity": 0.1}
    run = run_of(tiny, "text_filter", model, filter_weight=0.3, **given)
    run.model.eval()
    batch = next(iter(run.test_data))[0]
    with torch.no_grad():
        own = run.model.own_scores(batch)[:, 1:].clone()
        found = run.model.full_sort_predict(batch).view(len(batch), -1)[:, 1:]
    fitted = run.model.aligner.fitted(run.model._ranking)
    filtered = HistoryScores(fitted, torch.device("cpu")).scores(batch["item_id_list"] - 1)
    expected = 0.7 * standardised(own) + 0.3 * standardised(filtered)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    order = run.model._ranking.order
    assert (order.sign() != fitted.inputs.interactions).nnz == 0
    assert fitted.inputs.order is order
    # The validation item is not in the matrix of the filter, and counts all the same.
    trained = fitted.inputs.interactions[batch["user_id"].numpy() - 1].sum(1).A1
    assert (trained < batch["item_length"].numpy()).all()


def test_ranking_and_pairs_agree(tiny: Path) -> None:
    for align in ("none", "kar", "text_filter"):
        run = run_of(tiny, align)
        every = scores(run)
        users = run.test_data.user_df
        users.interaction["item_id"] = torch.arange(len(users)) % 40 + 1
        with torch.no_grad():
            pairs = run.model.predict(users)
        expected = every.gather(1, users["item_id"][:, None])[:, 0]
        assert torch.allclose(pairs, expected, rtol=0.0, atol=1e-5)


def test_a_model_that_ranks_with_another_table_runs_alone(tiny: Path) -> None:
    run = run_of(tiny, "none", "HGN")
    assert bool(run.model.calculate_loss(one_batch(run)).isfinite().all())
    with pytest.raises(OptionError, match="the model 'HGN' has no one item table"):
        run_of(tiny, "kar", "HGN")


@pytest.mark.parametrize("align", ["rlmrec_con", "relational", "relational_con"])
def test_the_general_aligners_run_unchanged(tiny: Path, align: str) -> None:
    run = run_of(tiny, align)
    parts = run.model.train().calculate_loss(one_batch(run))
    parts = parts if isinstance(parts, tuple) else (parts,)
    torch.stack([part.sum() for part in parts]).sum().backward()
    gradient = run.model.item_embedding.weight.grad
    assert bool(gradient.isfinite().all())
    assert bool(gradient[1:].any())


# ---- the softmax over all items ----------------------------------------------------------------


class Shapes(TorchDispatchMode):
    """Notes the shapes of all tensors that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.seen |= {tuple(one.shape) for one in tree_leaves(found) if torch.is_tensor(one)}
        return found


def loss_and_gradients(run: Prepared, batch: Any) -> tuple[list[torch.Tensor], Shapes]:
    model = run.model.train()
    model.zero_grad()
    torch.manual_seed(0)
    with Shapes() as shapes:
        parts = model.calculate_loss(batch)
        loss = parts if torch.is_tensor(parts) else sum(parts)
        loss.backward()
    return [loss, *(p.grad.clone() for p in model.parameters() if p.grad is not None)], shapes


@pytest.mark.parametrize("align", ["none", "darec"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_a_softmax_forms_no_scores_of_all_items(tiny: Path, model: str, align: str) -> None:
    run = run_of(tiny, align, model, rank_loss="ce")
    batch = one_batch(run)
    scores_of_all = (len(batch["item_id"]), run.model.n_items)
    assert run.model._in_blocks
    found, shapes = loss_and_gradients(run, batch)
    run.model._in_blocks = False
    expected, of_all = loss_and_gradients(run, batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert scores_of_all in of_all.seen
    # The blocks of the sum leave the padding out; no block is larger than all of it here.
    assert scores_of_all not in shapes.seen


def test_scores_that_a_model_changes_are_formed(tiny: Path) -> None:
    from recbole.model.sequential_recommender import SASRec

    class Cooled(SASRec):
        """A user's own model, whose scores have a temperature."""

        def calculate_loss(self, interaction: Any) -> torch.Tensor:
            rows = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
            scores = torch.matmul(rows, self.item_embedding.weight.transpose(0, 1))
            loss: torch.Tensor = self.loss_fct(scores / 2.0, interaction[self.POS_ITEM_ID])
            return loss

    needed = {"n_heads": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 1.0,
              "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}  # fmt: skip
    given = {**options(tiny, align="none"), **SMALL, **needed, "rank_loss": "ce"}
    cooled, plain = (prepare(resolve(model, "tiny", None, given)) for model in (Cooled, SASRec))
    assert (cooled.model._in_blocks, plain.model._in_blocks) == (False, True)
    batch = one_batch(cooled)
    plain.model.load_state_dict(cooled.model.state_dict())
    losses = [float(run.model.calculate_loss(batch).detach()) for run in (cooled, plain)]
    assert losses[0] != pytest.approx(losses[1], rel=0.01)
