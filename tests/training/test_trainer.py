"""The trainer: RecBole's results, named losses, mixed precision, refusals, repeatability."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.trainer import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import in_clean_process, options, outcome, parameters, plain_result, prepared, train

from recbole_darec import run_recbole_darec
from recbole_darec.errors import UserError
from recbole_darec.run import Prepared, make_trainer
from recbole_darec.training.checkpoint import load_checkpoint

NAMES = ["base", "or", "uni", "glo", "loc"]


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


def fitted(trainer: Any, run: Prepared, **given: Any) -> Any:
    trainer.fit(run.train_data, run.valid_data, show_progress=False, **given)
    return trainer


def run_it(data_path: Path, **changed: Any) -> dict[str, Any]:
    return run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, **changed))


# ---- beside RecBole's trainer -----------------------------------------------------------------


@pytest.mark.parametrize("align", ["none", "darec"])
@pytest.mark.parametrize("clip", [None, {"max_norm": 0.01}])
def test_an_epoch_is_that_of_recboles_trainer(align: str, clip: Any, data_path: Path) -> None:
    given = {"align": align, "clip_grad_norm": clip, "epochs": 3}
    ours, stock = prepared(data_path, **given), None
    mine = fitted(make_trainer(ours), ours, saved=False)
    stock = prepared(data_path, **given)
    theirs = fitted(Trainer(stock.config, stock.model), stock, saved=False)
    for name, value in parameters(stock.model).items():
        # The parts are added in another order.
        torch.testing.assert_close(parameters(ours.model)[name], value, rtol=1e-4, atol=1e-5)
    for epoch, loss in theirs.train_loss_dict.items():
        assert mine.train_loss_dict[epoch] == pytest.approx(loss, rel=1e-5)
    assert mine.best_valid_score == pytest.approx(theirs.best_valid_score, abs=5e-5)


def test_the_gradient_is_clipped(data_path: Path) -> None:
    moved = []
    for clip in (None, {"max_norm": 1e-9}):
        run = prepared(
            data_path, align="none", learner="sgd", clip_grad_norm=clip, learning_rate=1.0
        )
        before = parameters(run.model)
        fitted(make_trainer(run), run, saved=False)
        after = parameters(run.model)
        moved.append(max(float((after[n] - before[n]).abs().max()) for n in before))
    assert moved[1] < 1e-6 < 1e-3 < moved[0]


def test_best_epoch_is_known_with_and_without_saving(data_path: Path) -> None:
    results = [
        run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, epochs=5), saved=saved)
        for saved in (True, False)
    ]
    assert results[0]["best_epoch"] == results[1]["best_epoch"] >= 0
    assert results[0]["best_valid_score"] == results[1]["best_valid_score"]
    assert results[1]["model_file"] is None
    assert not list(Path("saved").glob("*.pth"))[1:]


def test_the_best_epoch_is_tested_and_not_the_last(data_path: Path) -> None:
    # A learning rate at which the validation score goes up and down again.
    result = run_it(data_path, epochs=12, learning_rate=0.3)
    assert result["best_epoch"] < 11
    again = run_it(data_path, epochs=result["best_epoch"] + 1, learning_rate=0.3)
    assert again["test_result"] == result["test_result"]
    assert load_checkpoint(Path(result["model_file"]))["epoch"] == result["best_epoch"]


def test_training_stops_early(data_path: Path) -> None:
    result = run_it(data_path, epochs=60, stopping_step=2, learning_rate=0.3)
    (log,) = Path("log/LightGCN").iterdir()
    epochs = re.findall(r"epoch (\d+) training", log.read_text())
    assert int(epochs[-1]) == result["best_epoch"] + 3 < 59


def test_a_callback_still_hears_of_each_epoch(data_path: Path) -> None:
    run = prepared(data_path, epochs=3)
    heard: list[tuple[int, float]] = []
    trainer = make_trainer(run)
    fitted(trainer, run, callback_fn=lambda epoch, score: heard.append((epoch, score)))
    assert [epoch for epoch, _ in heard] == [0, 1, 2]
    assert max(score for _, score in heard) == trainer.best_valid_score
    positional = make_trainer(prepared(data_path, epochs=1))
    positional.fit(run.train_data, run.valid_data, False, False, False, lambda *a: heard.append(a))
    assert len(heard) == 4


def test_without_validation_every_epoch_is_kept(data_path: Path) -> None:
    result = run_it(data_path, eval_step=0, epochs=3)
    assert result["best_epoch"] == 2
    assert math.isfinite(result["test_result"]["recall@10"])


def test_no_epoch_at_all_tests_the_model_as_it_starts(data_path: Path) -> None:
    result = run_it(data_path, epochs=0)
    assert result["best_epoch"] == -1
    assert math.isfinite(result["test_result"]["recall@10"])
    assert Path(result["model_file"]).is_file()


# ---- named losses -----------------------------------------------------------------------------


def test_each_epoch_logs_its_losses_by_name(data_path: Path) -> None:
    run_it(data_path, epochs=3)
    (log,) = Path("log/LightGCN").iterdir()
    lines = re.findall(r"epoch (\d+) training \[time: [\d.]+s, (.*)\]", log.read_text())
    assert [epoch for epoch, _ in lines] == ["0", "1", "2"]
    for _, parts in lines:
        pairs = [part.split(": ") for part in parts.split(", ")]
        assert [name for name, _ in pairs] == NAMES
        assert all(math.isfinite(float(value)) for _, value in pairs)
    base = [float(parts.split(", ")[0].split(": ")[1]) for _, parts in lines]
    assert base[-1] < base[0]


@pytest.mark.parametrize(
    ("changed", "names"),
    [({}, NAMES), ({"align": "none"}, ["base"]), ({"weight_glo": 0}, ["base", "or", "uni", "loc"])],
)
def test_tensorboard_has_each_loss_by_name(
    changed: dict[str, Any], names: list[str], data_path: Path
) -> None:
    run = prepared(data_path, epochs=3, **changed)
    trainer = fitted(make_trainer(run), run)
    (folder,) = Path("log_tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    losses = {tag for tag in events.Tags()["scalars"] if tag.startswith("Loss/Train")}
    assert losses == {"Loss/Train", *(f"Loss/Train/{name}" for name in names)}
    total = [event.value for event in events.Scalars("Loss/Train")]
    parts = [[event.value for event in events.Scalars(f"Loss/Train/{n}")] for n in names]
    assert len(total) == 3
    assert total == pytest.approx([sum(epoch) for epoch in zip(*parts)], rel=1e-5)
    assert total == pytest.approx(list(trainer.train_loss_dict.values()), rel=1e-5)


def test_metrics_are_not_rounded(data_path: Path) -> None:
    result = run_it(data_path)
    for metrics in (result["best_valid_result"], result["test_result"]):
        assert any(round(value, 6) != value for value in metrics.values())
    assert result["best_valid_score"] == result["best_valid_result"]["recall@10"]


# ---- mixed precision, bad numbers -------------------------------------------------------------


@pytest.mark.parametrize("align", ["none", "darec"])
def test_mixed_precision_trains(align: str, data_path: Path) -> None:
    whole = run_it(data_path, align=align, epochs=4)
    mixed = run_it(data_path, align=align, epochs=4, enable_amp=True, enable_scaler=True)
    content = load_checkpoint(Path(mixed["model_file"]))
    for name, value in content["state_dict"].items():
        if value.is_floating_point():
            assert value.dtype == torch.float32, name
            assert bool(value.isfinite().all()), name
    near = pytest.approx(whole["test_result"]["recall@10"], abs=0.15)
    assert mixed["test_result"]["recall@10"] == near


def test_mixed_precision_is_used(data_path: Path) -> None:
    seen = []
    run = prepared(data_path, enable_amp=True, epochs=1)
    run.model.alignment["profile"].shared[-1].register_forward_hook(
        lambda module, given, output: seen.append(output.dtype)
    )
    fitted(make_trainer(run), run, saved=False)
    assert set(seen) == {torch.bfloat16}


def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(data_path: Path) -> None:
    with pytest.raises(UserError, match=r"loss is not finite in epoch 0 \(base.*learning_rate"):
        run_it(data_path, learner="sgd", learning_rate=1e6, reg_form="full", reg_weight=1, epochs=3)


def test_the_part_that_is_not_finite_is_named(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(data_path, epochs=1)
    losses = run.model.aligner.losses

    def broken(step: Any) -> dict[str, torch.Tensor]:
        parts = losses(step)
        return {**parts, "uni": parts["uni"] * float("nan")}

    monkeypatch.setattr(run.model.aligner, "losses", broken)
    with pytest.raises(UserError, match=r"epoch 0 \(uni\)"):
        fitted(make_trainer(run), run)


def test_a_trainer_loop_of_recboles_own_refuses_nan_too(data_path: Path) -> None:
    trainer = make_trainer(prepared(data_path))
    trainer._check_nan(torch.tensor(1.0))
    with pytest.raises(UserError, match="not a number"):
        trainer._check_nan(torch.tensor(float("nan")))


# ---- same seed, same result -------------------------------------------------------------------


@pytest.mark.parametrize("align", ["none", "darec"])
def test_the_same_seed_gives_the_same_result_in_other_processes(
    align: str, data_path: Path, tmp_path: Path
) -> None:
    changed = {"align": align, "epochs": 4, "edge_keep_rate": 0.8, "align_sample": 50}
    here = outcome(plain_result(run_it(data_path, **changed)))
    for name in ("one", "other"):
        code, there = in_clean_process(train, tmp_path / name, str(data_path), changed)
        assert code == 0
        assert outcome(there) == here


def test_every_loss_of_every_epoch_is_the_same_twice(data_path: Path) -> None:
    histories = []
    for _ in range(2):
        run = prepared(data_path, epochs=3)
        histories.append(fitted(make_trainer(run), run, saved=False).train_loss_dict)
    assert histories[0] == histories[1]
