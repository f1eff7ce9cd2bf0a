from __future__ import annotations

import numpy as np
import torch
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender.ngcf import NGCF
from scipy.sparse import dok_matrix
from tiny_runs import options

from recbole_darec.recbole_compat import make_config, reconcile
from recbole_darec.resolve import resolve


def test_a_dok_matrix_takes_a_dictionary() -> None:
    reconcile()
    matrix = dok_matrix((3, 4), dtype=np.float32)
    matrix._update({(0, 1): 1, (2, 3): 5})
    assert matrix.nnz == 2
    expected = [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 5]]
    np.testing.assert_array_equal(matrix.toarray(), expected)
    np.testing.assert_array_equal(matrix.tocsr().toarray(), expected)


def test_a_stock_model_makes_its_adjacency_matrix(tiny_dataset, monkeypatch) -> None:
    """RecBole's NGCF, RecBole's loaders: D^-1/2 A D^-1/2 of the training interactions."""
    monkeypatch.chdir(tiny_dataset.data_path.parent)
    config = make_config(resolve("NGCF", "tiny", None, options(tiny_dataset.data_path)), NGCF)
    train, _, _ = data_preparation(config, create_dataset(config))
    model = NGCF(config, train._dataset)
    users, items = (train._dataset.inter_feat[name].numpy() for name in ("user_id", "item_id"))
    size = model.n_users + model.n_items
    dense = np.zeros((size, size))
    dense[users, items + model.n_users] = dense[items + model.n_users, users] = 1
    degree = dense.sum(1) + 1e-7
    expected = dense / np.sqrt(degree[:, None] * degree[None])
    found = model.norm_adj_matrix.to_dense()
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))
