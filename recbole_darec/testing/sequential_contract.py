"""What every sequential backbone must do: a backbone's contract, over items alone, and its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from recbole_darec.embeddings import read_table
from recbole_darec.testing.backbone_contract import BackboneContract
from recbole_darec.testing.tiny_runs import one_batch
from recbole_darec.testing.tiny_sequences import write_tiny_sequences

__all__ = ["SequentialBackboneContract"]


class SequentialBackboneContract(BackboneContract):
    """Inherit, and name the backbone; see :class:`BackboneContract`.

    Attributes:
        positions: whether it reads a sequence in order, so that a row has a target a place.
    """

    kinds: ClassVar[tuple[str, ...]] = ("item",)
    # 10 of the 40 items are 0.25; nine times in ten the next one on the circle is right.
    found: ClassVar[tuple[str, float, int]] = ("recall@10", 0.5, 8)
    positions: ClassVar[bool] = False

    def write_data(self, folder: Path) -> Path:
        """Write the tiny data set of sequences, and return its folder."""
        return write_tiny_sequences(folder).data_path

    def test_a_row_is_what_the_backbone_can_read(self) -> None:
        assert self.prepared("none").model.reads_positions == self.positions

    def test_every_rank_loss_trains(self) -> None:
        for rank_loss in ("bce", "bpr", "ce"):
            parts = self.a_step(self.prepared("none", rank_loss=rank_loss))
            assert all(bool(part.isfinite().all()) for part in parts)
            assert any(part.requires_grad for part in parts)

    def test_no_negative_is_the_users_own(self) -> None:
        run = self.prepared("none", training_rows="prefixes", rank_loss="bce")
        train = run.train_data.dataset.inter_feat
        pairs = set(zip(train["user_id"].tolist(), train["item_id"].tolist()))
        for _ in range(3):
            for batch in run.train_data:
                drawn = zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist())
                assert not pairs & set(drawn)
                assert int(batch["neg_item_id"].min()) > 0

    def test_padding_is_never_aligned(self) -> None:
        run = self.prepared("darec", align_sample="all")
        items = read_table(self.data_path / "tiny" / "tiny.itememb")
        tokens = run.dataset.field2id_token[run.dataset.iid_field][1:]
        expected = torch.from_numpy(items.matrix[[items.tokens.index(t) for t in tokens]].copy())
        assert torch.equal(run.model.profile_rows, expected)
        step: Any = run.model._rows_of(one_batch(run), {})
        assert all(int(rows.min()) >= 0 for rows in step.values())
