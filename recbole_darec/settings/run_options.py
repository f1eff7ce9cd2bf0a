"""The options of every run: what it does, where its profiles come from, how it is evaluated."""

from __future__ import annotations

from typing import Any, ClassVar

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import Options, option

__all__ = [
    "COMMON_OPTIONS",
    "FAMILY_OPTIONS",
    "SEQUENTIAL_MASKS",
    "WITHOUT_EFFECT",
    "EvaluationOptions",
    "ProfileSourceOptions",
    "RunOptions",
    "SequenceOptions",
    "bucket_names",
]

SEQUENTIAL_MASKS = ("none", "history", "history_all")

# Options that change where or how a run is done or shown, and not what it computes.  (The number of
# threads is none of them: it decides the last digit of a sum.)
WITHOUT_EFFECT = frozenset(
    {
        "resume",
        "show_progress",
        "state",
        "checkpoint_dir",
        "checkpoint_name",
        "log_wandb",
        "wandb_project",
        "snapshot_every",
        "keep_last",
        "eval_block_mb",
        "result_buckets",
        "loss_decimal_place",
        "cuda_graph",
        "nproc",
        "world_size",
        "group_offset",
        "ip",
        "port",
        "gpu_id",
    }
)


class RunOptions(Options):
    """What a run does, whatever its backbone and aligner."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "train_batch_size": 2048,
        "eval_step": 1,
        "stopping_step": 10,
    }

    align: str = option("darec", "Alignment method, or none for the backbone alone.")
    preset: str | None = option(
        None, "A file of properties/preset, read after the data set's own properties."
    )
    split_seed: int | None = option(
        None,
        "Seed of the ratio split. Null draws the split from `seed`, as RecBole does; a number "
        "keeps one split whatever `seed` is.",
        low=0,
        high=2**32 - 1,
    )
    cold_items: float = option(
        0.0,
        "Share of the items that are held out whole, with all their interactions: the model never "
        "sees them, and evaluate ranks them by their profiles.",
        low=0.0,
        below=1.0,
        since="0.2",
    )
    cold_items_seed: int = option(
        2020, "Seed of which items cold_items holds out.", low=0, high=2**32 - 1, since="0.2"
    )
    resume: bool | str = option(
        False,
        "Continue a run that was cut off, or a finished one that kept its last state with more "
        "epochs: true for the newest one with these very options, or the path of its .resume or "
        ".last file.",
    )
    snapshot_every: int = option(
        1, "Epochs between two snapshots for --resume; 0 writes none.", low=0
    )
    keep_last: bool = option(
        False,
        "Keep the last state of a finished run beside its best model: --resume with more epochs "
        "goes on from it.",
    )
    checkpoint_name: str | None = option(
        None,
        "File name of the best model in checkpoint_dir, replaced where it exists; null makes a "
        "name that no other run has.",
        since="0.2",
    )
    init: str = option(
        "random",
        "What the embedding tables start from: random numbers, or the profiles in their leading "
        "directions, whitened, at the random numbers' deviation (text).",
        choices=("random", "text"),
        since="0.2",
    )
    diagnostics: bool = option(
        False,
        "Log each epoch the effective rank and mean direction of the embeddings and of the "
        "aligner's parts, and the norm of the gradient with which each loss reaches E^C; over "
        "experts their weights, and how far texts and ids are apart.",
    )
    num_threads: int = option(0, "CPU threads of torch; 0 leaves torch's own choice.", low=0)
    cuda_graph: bool = option(
        True,
        "On a GPU record a training step once and replay it, where the model and its aligner take "
        "every step alike; False takes each by itself.",
        since="0.2",
    )
    nproc: int = option(
        1, "Processes of this machine that train the model together, one on each GPU.", low=1
    )
    world_size: int = option(-1, "Processes on all machines together; -1: those of nproc.", low=-1)
    group_offset: int = option(
        0, "Processes on the machines before this one; 0 on the one that writes the files.", low=0
    )
    ip: str = option("localhost", "Address of the machine with group_offset=0, where they meet.")
    port: int | None = option(
        None, "Port on which they meet; null takes a free one of this machine.", low=1, high=65535
    )
    train_noise: float = option(
        0.0,
        "Random interactions added to the training part, as a share of it: pairs of a user and an "
        "item that stand in no part (RLMRec, figure 5).",
        low=0.0,
        high=1.0,
        since="0.2",
    )
    train_noise_seed: int | None = option(
        None,
        "Seed of the added interactions; null draws them from `seed`.",
        low=0,
        high=2**32 - 1,
        since="0.2",
    )

    def check_together(self) -> None:
        """Refuse a checkpoint_name that is no file name."""
        name = self.checkpoint_name
        if name is not None and (name in ("", ".", "..") or "/" in name or "\\" in name):
            raise OptionError(
                f"checkpoint_name='{name}' is no file name: the folder is checkpoint_dir"
            )


class ProfileSourceOptions(Options):
    """Where the profile embeddings E^L come from and what is done to them."""

    profile_dir: str | None = option(
        None,
        "Folder of <dataset>.useremb and <dataset>.itememb; null looks in the data set's folder "
        "and then among the samples that the package carries.",
    )
    user_profile_file: str | None = option(None, "User embedding file, instead of a search.")
    item_profile_file: str | None = option(None, "Item embedding file, instead of a search.")
    missing_profile: str = option(
        "error",
        "What a user or item without a profile gets: an error, the mean row, or a zero row.",
        choices=("error", "mean", "zero"),
    )
    profile_width: int | None = option(
        None, "Expected number of columns; null takes whatever the files hold.", low=1
    )
    profile_split: str = option(
        "error",
        "What to do where the profiles say that they were made from another split than this "
        "run's, so that they may tell test interactions: an error, or a warning.",
        choices=("error", "warn"),
    )
    profile_control: str = option(
        "none",
        "Control experiment: shuffle gives each user and item another one's row, random gives "
        "Gaussian rows, no_text gives none (for text_filter, which can do without).",
        choices=("none", "shuffle", "random", "no_text"),
    )
    profile_control_seed: int = option(0, "Seed of the control.", low=0)
    profile_components: int | None = option(
        None,
        "Principal directions that the centred profiles are reduced to, found on the ids of the "
        "training part; null keeps the columns of the files.",
        low=1,
        since="0.2",
    )
    profile_whiten: str = option(
        "none",
        "Whether the centred profiles are whitened on the ids of the training part: pca gives each "
        "principal direction variance 1, zca turns them back into the columns of the files.",
        choices=("none", "pca", "zca"),
        since="0.2",
    )

    def check_together(self) -> None:
        """Refuse to reduce what is to keep its columns."""
        if self.profile_whiten == "zca" and self.profile_components is not None:
            raise OptionError(
                f"profile_whiten=zca keeps all columns, and profile_components="
                f"{self.profile_components} reduces them: take profile_whiten=pca, or leave "
                "profile_components out"
            )


class EvaluationOptions(Options):
    """How the all-rank evaluation is done."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "metrics": ["Recall", "NDCG", "MRR", "Hit", "Precision"],
        "topk": [5, 10, 20],
        "valid_metric": "Recall@20",
    }

    eval_mask: str = option(
        "train_valid",
        "Items left out of the ranking at test time. General models: those of training (the "
        "papers' protocol), or of training and validation (RecBole's). Sequential models: none "
        "(RecBole's), the user's earlier items but for the target (history), or all of them, so "
        "that a repeated purchase cannot be hit (history_all, PAD's).",
        choices=("train", "train_valid", *SEQUENTIAL_MASKS),
    )
    eval_batch_users: int = option(1024, "Users ranked at a time, at most.", low=1)
    eval_block_mb: int = option(
        256, "Most memory in MiB for their scores; fewer users are ranked at a time.", low=1
    )
    cold_neighbours: int = option(
        10,
        "Trained items whose mean stands for one that cold_items held out, the nearest by profile.",
        low=1,
        since="0.2",
    )

    result_buckets: int = option(
        0,
        "Buckets of items of the same total training count, by which the test metrics are told "
        "apart, too; 3 are called warm, median and cold. 0: none.",
        low=0,
        since="0.2",
    )

    def users_per_batch(self, n_items: int) -> int:
        """Return how many users are ranked at a time with float32 scores of ``n_items`` items."""
        return max(1, min(self.eval_batch_users, self.eval_block_mb * 2**20 // (4 * n_items)))


def bucket_names(n_buckets: int) -> list[str]:
    """Return the names of ``result_buckets``, the most frequent first."""
    if n_buckets == 3:
        return ["warm", "median", "cold"]
    return [f"bucket{n}" for n in range(1, n_buckets + 1)]


COMMON_OPTIONS: tuple[type[Options], ...] = (RunOptions, ProfileSourceOptions, EvaluationOptions)


class SequenceOptions(Options):
    """What every sequential model has, one of RecBole's too."""

    RECBOLE_DEFAULTS: ClassVar[dict[str, Any]] = {
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "group_by": "user",
            "order": "TO",
            "mode": "full",
        },
        "eval_mask": "none",
        "valid_metric": "Hit@10",
    }

    rank_loss: str = option(
        "bce",
        "How a target is ranked: against one negative, by binary cross entropy (bce) or as a pair "
        "(bpr), or against all items by a softmax (ce); takes the place of RecBole's loss_type.",
        choices=("bce", "bpr", "ce"),
    )
    training_rows: str = option(
        "auto",
        "A row of a training batch: a user's items, each but the first a target (positions), or "
        "what stands before one target (prefixes); auto takes positions where the model reads a "
        "sequence in order, as SASRec and GRU4Rec do and Caser does not.",
        choices=("auto", "positions", "prefixes"),
    )
    group_by_length: bool = option(
        False,
        "Whether a batch of positions has rows of like lengths, so that little of it is padding; "
        "rows are drawn at random, then sorted within some batches' worth of them.",
    )


FAMILY_OPTIONS: dict[str, type[Options]] = {"sequential": SequenceOptions}
