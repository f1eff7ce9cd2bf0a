"""The ids of RecBole's data sets, counted and numbered by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import recbole_darec.recbole_compat.numpy_names  # noqa: F401  isort: skip
from recbole.utils import FeatureType

__all__ = ["ColumnIds"]


class ColumnIds:
    """Mixin over a RecBole data set: the same filters and numbers, without a step for each row.

    Works around: RecBole counts the ids by ``collections.Counter`` and numbers them as Python text.
    """

    uid_field: str
    iid_field: str
    inter_feat: Any
    user_feat: Any
    item_feat: Any

    def _filter_by_inter_num(self) -> None:
        intervals = {
            field: self._parse_intervals_str(self.config[f"{kind}_inter_num_interval"])  # type: ignore[attr-defined]
            for field, kind in ((self.uid_field, "user"), (self.iid_field, "item"))
            if field is not None
        }
        if len(intervals) < 2 or not any(intervals.values()):
            return
        feats = {self.uid_field: self.user_feat, self.iid_field: self.item_feat}
        coded = {field: _coded(self.inter_feat[field]) for field in intervals}
        kept = np.ones(len(self.inter_feat), bool)
        feats_kept = {f: np.ones(len(t), bool) for f, t in feats.items() if t is not None}
        places = {f: coded[f][1].get_indexer(feats[f][f]) for f in feats_kept}
        while True:
            out, banned_any = ~kept, False
            for field, interval in intervals.items():
                if not interval:
                    continue
                codes, texts = coded[field]
                counts = np.bincount(codes[kept], minlength=len(texts))
                banned = (counts > 0) & ~self._within_intervals(counts, interval)  # type: ignore[attr-defined]
                if field in feats_kept:
                    # Of these RecBole asks the first interval's lower end alone.
                    place, there = places[field], feats_kept[field]
                    own = np.where(place >= 0, counts[place] if len(counts) else 0, 0)
                    few = there & (own < interval[0][1])
                    banned[place[few & (place >= 0)]] = True
                    there &= ~(few | ((place >= 0) & banned[place]))
                    banned_any |= bool(few.any())
                banned_any |= bool(banned.any())
                out |= banned[codes]
            if not banned_any:
                break
            kept = ~out
        if not kept.all():
            self.inter_feat = self.inter_feat.drop(self.inter_feat.index[~kept])
        for field, there in feats_kept.items():
            if not there.all():
                name = "user_feat" if field == self.uid_field else "item_feat"
                setattr(self, name, feats[field].drop(feats[field].index[~there]))

    def _remap(self, remap_list: Any) -> None:
        if not remap_list or any(kind != FeatureType.TOKEN for _, _, kind in remap_list):
            super()._remap(remap_list)  # type: ignore[misc]
            return
        codes, texts = zip(*(pd.factorize(feat[field]) for feat, field, _ in remap_list))
        numbers, distinct = pd.factorize(
            np.concatenate([np.asarray(column, dtype=object) for column in texts])
        )
        tokens = ["[PAD]", *distinct]
        places, of_tokens = np.array(tokens), {token: n for n, token in enumerate(tokens)}
        end = 0
        for (feat, field, _), column, own in zip(remap_list, codes, texts):
            begin, end = end, end + len(own)
            if field not in self.field2id_token:  # type: ignore[attr-defined]
                self.field2id_token[field] = places  # type: ignore[attr-defined]
                self.field2token_id[field] = of_tokens  # type: ignore[attr-defined]
            # The place of a missing cell is -1, and its number the padding's.
            feat[field] = np.append(numbers[begin:end] + 1, 0)[column]


def _coded(column: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Return the place of each cell among the distinct ones, which are none missing."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories
    codes, texts = pd.factorize(column)
    return codes, pd.Index(texts)
