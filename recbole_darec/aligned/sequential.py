"""A sequential recommender of RecBole as a backbone: its item table, its encoder, its rows.

The model is wrapped and not rewritten: it computes its own loss from its own encoder.  Three things
are put in its way.  ``loss_fct`` is the rank loss of the run.  ``gather_indexes``, by which a model
that reads in order drops all places of its output but the last, keeps every place that has a
target.  And the item table, which is input and output layer at once, holds the rows that the
aligner makes of it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_darec.aligned.access import EmbeddingAccess, find_tables, undisturbed
from recbole_darec.aligned.altered import AlteredBackbone, backbone_name
from recbole_darec.aligned.recommender import AlignedRecommender
from recbole_darec.aligned.rows import loss_of_own_rows
from recbole_darec.aligned.table_products import Products, products_as_factors
from recbole_darec.alignment.contract import Aligner
from recbole_darec.data.sequences import PLACES
from recbole_darec.errors import OptionError
from recbole_darec.numerics import RANK_LOSSES, last_places, softmax_loss_of_rows
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import SequenceOptions

__all__ = ["AlignedSequential"]

# What the parameters of RecBole's forward methods stand for.
_SEQUENCES = ("item_seq", "seq_item")
_LENGTHS = ("item_seq_len", "seq_item_len")
_USERS = ("user",)


class AlignedSequential(AlignedRecommender):
    """Mixin over a RecBole sequential recommender; items are the only kind.

    Attributes:
        reads_positions: whether a training row has a target at each of its places.
    """

    reads_positions: bool

    def _kind_sizes(self) -> dict[str, int]:
        return {"item": self.n_items}

    # ---- what the backbone offers ----------------------------------------------------------

    def _ready(self, config: Any, dataset: Any, method: type[Aligner]) -> None:
        options = options_from_config(SequenceOptions, config)
        name = backbone_name(type(self))
        if config["transform"] is not None:
            raise OptionError(
                f"the model '{name}' wants its sequences changed (transform="
                f"{config['transform']}), which is not done here; take SASRec, GRU4Rec or Caser"
            )
        self._places: Tensor | None = None
        self._gathered = 0
        self._in_blocks = False  # whether the loss goes through all scores in blocks
        self.loss_fct = _RankLoss(options.rank_loss)
        self.reads_positions = False
        if getattr(self, "counts_alone", False):
            return
        loss = self._check_loss(config, name)
        self._in_blocks = options.rank_loss == "ce"
        if self._in_blocks:
            self._in_blocks = self._has_loss(loss, config)
        if options.training_rows != "prefixes":
            self.reads_positions = self._reads_in_order(config)
        if options.training_rows == "positions" and not self.reads_positions:
            raise OptionError(
                f"training_rows=positions needs a model that reads a sequence in order, and "
                f"'{name}' makes one row of a whole sequence: set training_rows=prefixes"
            )
        if options.group_by_length and not (self.reads_positions and config["shuffle"]):
            raise OptionError(
                "group_by_length groups shuffled rows of positions: leave it out with "
                + (f"'{name}' and prefixes" if config["shuffle"] else "shuffle=False")
            )

    def _check_loss(self, config: Any, name: str) -> Tensor:
        """Return the loss of the smallest batch.

        Raises:
            OptionError: the model does not rank by the rows of an item table and one loss.
        """
        self.to(self.device)
        failure: Exception | None = None
        try:
            with undisturbed(self), torch.no_grad():
                found = self.backbone_loss(self._smallest_batch(config).to(self.device))
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            failure = error
        if failure is not None or self.loss_fct.calls != 1:
            raise OptionError(
                f"the model '{name}' does not rank items by one representation of a sequence "
                "(forward of item_seq and item_seq_len) and an item table; take one such as "
                "SASRec, GRU4Rec or Caser"
            ) from failure
        return found

    def _has_loss(self, expected: Tensor, config: Any) -> bool:
        """Tell whether the loss of the smallest batch can be computed, and is the expected one."""
        with undisturbed(self), torch.no_grad():
            try:
                found = self.backbone_loss(self._smallest_batch(config).to(self.device))
            except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
                return False  # it does more with the scores than to hand them to the loss
        return bool(torch.allclose(found, expected, rtol=1e-4))

    def _smallest_batch(self, config: Any) -> Interaction:
        return self._batch_of(torch.ones(1, 1, dtype=torch.int64), config)

    def _found_access(self, method: type[Aligner], config: Any) -> EmbeddingAccess:
        access = super()._found_access(method, config)
        # HGN reads one table and ranks with another: an aligner would reach one of them.
        batch = self._batch_of(torch.arange(1, min(5, self.n_items - 1))[:, None], config)
        batch.interaction[self.ITEM_ID] = torch.full((len(batch),), self.n_items - 1)
        assert access.tables is not None
        (table,) = access.tables.weights(self).values()
        batch = batch.to(self.device)
        with undisturbed(self), torch.enable_grad():
            try:
                encoded = self.encode(batch)
            except KeyError as error:  # it reads more than a sequence
                raise self.no_embeddings() from error
            # No plain sum, which a last layer norm makes a constant.
            weighted = (encoded * torch.arange(encoded.shape[1], device=encoded.device)).sum()
            (read,) = torch.autograd.grad(weighted, table, allow_unused=True)
            (ranked,) = torch.autograd.grad(self.backbone_loss(batch).sum(), table)
        if read is None or not bool(read[1].any()) or not bool(ranked[-1].any()):
            raise self.no_embeddings()
        return access

    def _batch_of(self, sequences: Tensor, config: Any) -> Interaction:
        """Return a batch of sequences ``[b, t]``, zeros behind their ends, with one target each."""
        rows = torch.zeros(len(sequences), self.max_seq_length, dtype=torch.int64)
        rows[:, : sequences.shape[1]] = sequences
        one = torch.ones(len(sequences), dtype=torch.int64)
        fields = {
            self.USER_ID: one,
            self.ITEM_SEQ: rows,
            self.ITEM_SEQ_LEN: (sequences > 0).sum(1),
            self.ITEM_ID: one,
        }
        if config["loss_type"] != "CE":
            fields[self.NEG_ITEM_ID] = one
        return Interaction(fields)

    def _reads_in_order(self, config: Any) -> bool:
        """Tell whether the output at each place is what the prefix that ends there gives."""
        longest = min(4, self.max_seq_length)
        generator = torch.Generator().manual_seed(0)
        sequence = torch.randint(1, self.n_items, (1, longest), generator=generator)
        prefixes = sequence.repeat(longest, 1).tril()
        whole = Interaction(
            {
                self.USER_ID: torch.ones(1, dtype=torch.int64),
                self.ITEM_SEQ: sequence,
                self.ITEM_SEQ_LEN: torch.tensor([longest]),
                PLACES: torch.arange(longest),
            }
        )
        with undisturbed(self), torch.no_grad():
            try:
                alone = self.encode(self._batch_of(prefixes, config).to(self.device))
                self._gathered = 0
                together = self.encode(whole.to(self.device))
            except (RuntimeError, ValueError, IndexError, KeyError):
                return False  # it knows one length alone, or reads more than a sequence
        if self._gathered != 1 or together.shape != alone.shape:
            return False
        scale = float(alone.abs().max())
        return bool(torch.allclose(together, alone, rtol=0.0, atol=1e-4 * scale))

    # ---- one training step -----------------------------------------------------------------

    def encode(self, interaction: Any) -> Tensor:
        """Return what the encoder makes of a batch's sequences, one row a target, ``[m, d]``.

        The item table is read as it stands, swapped rows included.
        """
        known = {
            **dict.fromkeys(_SEQUENCES, self.ITEM_SEQ),
            **dict.fromkeys(_LENGTHS, self.ITEM_SEQ_LEN),
            **dict.fromkeys(_USERS, self.USER_ID),
        }
        backbone = super(AlteredBackbone, self).forward
        arguments = {
            name: interaction[known[name]] for name in inspect.signature(backbone).parameters
        }
        with self._at_places(interaction):
            encoded: Tensor = backbone(**arguments)
        return encoded

    def sequence_vectors(self, interaction: Any) -> tuple[Tensor, Tensor] | None:
        """Return vectors of a batch's sequences ``[b, d]`` and of all items ``[n_items, d]``.

        None where the model has none; whether their products are its scores is not said.
        """
        tables = find_tables(self, self._sizes)
        if tables is None or getattr(self, "counts_alone", False):
            return None
        with self.ranking_tables():
            try:
                return self.encode(interaction), tables.weights(self)["item"]
            except KeyError:  # it reads more than a sequence
                return None

    def predict(self, interaction: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the scores of a batch's items, as the aligner alters tables or scores, ``[b]``."""
        if not self.alters_scores():
            return super().predict(interaction, *args, **kwargs)
        scores = self.full_sort_predict(interaction).view(-1, self.n_items)
        return scores.gather(1, interaction[self.ITEM_ID][:, None])[:, 0]

    def _asked_for(self, interaction: Any) -> Tensor:
        histories: Tensor = interaction[self.ITEM_SEQ] - 1
        return histories

    def _order_of(self, dataset: Any) -> Any:
        fields = dataset.uid_field, dataset.iid_field
        users, items = (dataset.inter_feat[field].numpy() - 1 for field in fields)
        return last_places(users, items, (dataset.user_num - 1, dataset.item_num - 1))

    def loss_of_rows(self, loss_of: Callable[[Any], Any], interaction: Any) -> Any:
        """Return this process's part of a loss that is a mean over the batch's targets."""
        return loss_of_own_rows(loss_of, interaction, sequences=self.ITEM_SEQ)

    def _loss_of(self, rows: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the backbone's loss with the run's rank loss, over every target of the rows."""
        factors = products_as_factors(self.n_items) if self._in_blocks else contextlib.nullcontext()
        with self._at_places(rows), factors:
            return super()._loss_of(rows, *args, **kwargs)

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """Return the last place of each row ``[b, d]``, or every place that has a target."""
        self._gathered += 1
        if self._places is None or output.dim() != 3:
            found: Tensor = super().gather_indexes(output, gather_index)  # type: ignore[misc]
            return found
        return output.flatten(0, 1)[self._places]

    @contextlib.contextmanager
    def _at_places(self, interaction: Any) -> Iterator[None]:
        before = self._places
        self._places = interaction.interaction.get(PLACES)
        try:
            yield
        finally:
            self._places = before

    def _rows_of(self, interaction: Any, final: Mapping[str, Tensor]) -> dict[str, Tensor]:
        history = interaction[self.ITEM_SEQ]
        batch = {"item": interaction[self.ITEM_ID] - 1, "history": history[history > 0] - 1}
        if self.NEG_ITEM_ID in interaction:
            batch["neg_item"] = interaction[self.NEG_ITEM_ID] - 1
        return batch

    def no_embeddings(self) -> OptionError:
        """Return the error for a backbone that an aligner finds no item table in."""
        name = backbone_name(type(self))
        return OptionError(
            f"the model '{name}' has no one item table that reads and ranks, which an aligner "
            "needs; take a sequential model such as SASRec, or --align=none"
        )


class _RankLoss(nn.Module):
    """Stands where RecBole's models call their loss, of two scores or of logits and targets."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._loss = RANK_LOSSES[name]
        self.calls = 0

    def forward(self, scores: Tensor | Products, other: Tensor) -> Tensor:
        self.calls += 1
        if isinstance(scores, Products):
            return softmax_loss_of_rows(*scores, other)
        return self._loss(scores, other)
