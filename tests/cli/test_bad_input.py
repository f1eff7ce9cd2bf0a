"""Bad input, one row each: a real command line, run in a process of its own.

Exit code 2, one line on stderr that names the thing and the way out, no traceback, and no file
left behind.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import command, environment
from warm import run_command

from cli.conftest import Interrupted, write_quick
from recbole_darec.testing.tiny_dataset import N_ITEMS, N_USERS, WIDTH, TinyDataset


@dataclass
class Case:
    """The folder of one row: the command is run in it; the tiny data set lies below it."""

    folder: Path
    tiny: TinyDataset
    interrupted: Interrupted | None = None

    def part(self, name: str) -> Path:
        return self.tiny.folder / f"tiny.{name}.inter"

    def file(self, name: str, content: str = "") -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path

    def rewrite(self, path: Path, change: Callable[[list[str]], list[str]]) -> None:
        """Change the lines of a text file."""
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(change(lines)), encoding="utf-8")

    def user_text(self, change: Callable[[list[str]], list[str]]) -> None:
        """Put the users' embeddings into a text file with some line changed."""
        npy = self.tiny.folder / "tiny.useremb.npy"
        lines = [
            f"u{n}\t{' '.join(map(str, row.tolist()))}\n" for n, row in enumerate(np.load(npy))
        ]
        npy.unlink()
        (self.tiny.folder / "tiny.useremb.tokens").unlink()
        text = self.tiny.folder / "tiny.useremb"
        text.write_text("".join(["uid:token\tuser_emb:float_seq\n", *change(lines)]), "utf-8")

    def checkpoint(self, suffix: str = ".pth") -> Path:
        """A copy of what a run that was interrupted in this very data set has kept."""
        assert self.interrupted is not None
        source = self.interrupted.checkpoint if suffix == ".pth" else self.interrupted.snapshot
        return Path(shutil.copy(source, self.folder / f"model{suffix}"))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what is bad.
        args: the arguments; ``...`` stands for the model and the tiny data set.
        words: what the line on stderr must hold.
        prepare: makes the input bad.
        mount: options of a tmpfs that is mounted on ``small/`` for the command.
        cwd: folder in which the command runs, below the row's.
        trains: whether the failure comes in training: logs are then written, and left.
        needs_checkpoint: whether ``prepare`` takes a checkpoint.
    """

    name: str
    args: tuple[Any, ...]
    words: tuple[str, ...]
    prepare: Callable[[Case], Any] = lambda case: None
    mount: str = ""
    cwd: str = "."
    trains: bool = False
    needs_checkpoint: bool = False


def train(name: str, option: str, *words: str, **more: Any) -> Row:
    """A row of a training run with some options more, separated by ``|``."""
    return Row(name, (..., *option.split("|")), words, **more)


def other_model(name: str, model: str, option: str, *words: str) -> Row:
    """A row of a training run of another model than LightGCN."""
    args = (f"--model={model}", "--dataset=tiny", *option.split("|"))
    return Row(name, args, (f"'{model}'", *words))


def import_table(name: str, csv: str, args: str, *words: str, file: str = "x.csv") -> Row:
    """A row of ``import table`` from a file with this content."""
    return Row(
        name,
        ("import", "table", "--dataset=mine", f"--interactions={file}", *args.split()),
        words,
        lambda case: case.file(file, csv),
    )


# ---- ways to spoil the input -----------------------------------------------------------------


def without_column(case: Case) -> None:
    case.rewrite(
        case.part("valid"), lambda lines: [lines[0].replace("item_id", "movie"), *lines[1:]]
    )


def one_user_likes_all(case: Case) -> None:
    everything = [f"u0\ti{n}\n" for n in range(N_ITEMS)]
    case.rewrite(
        case.part("train"), lambda lines: [ln for ln in lines if ln[:3] != "u0\t"] + everything
    )


def narrow_users(case: Case) -> None:
    np.save(case.tiny.folder / "tiny.useremb.npy", np.ones((N_USERS, WIDTH // 2), np.float16))


def half_of_the_users(case: Case) -> None:
    path = case.tiny.folder / "tiny.useremb.npy"
    np.save(path, np.load(path)[: N_USERS // 2])
    case.rewrite(path.with_suffix(".tokens"), lambda lines: lines[: N_USERS // 2])


def other_ids(case: Case) -> None:
    tokens = case.tiny.folder / "tiny.useremb.tokens"
    case.rewrite(tokens, lambda lines: [f"user{ln}" for ln in lines])


def cut_off(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def pickled_npy(case: Case) -> None:
    np.save(case.tiny.folder / "tiny.useremb.npy", np.array([[Hostile("npy")]]), allow_pickle=True)


def nan_in_npy(case: Case) -> None:
    path = case.tiny.folder / "tiny.itememb.npy"
    matrix = np.load(path)
    matrix[7, 3] = np.nan
    np.save(path, matrix)


class Hostile:
    """Writes a file when it is unpickled by a loader that can run code."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch executed-{self.name}",)


def recbole_checkpoint(case: Case) -> None:
    """A checkpoint as RecBole writes it: a pickled object beside the tensors."""
    import torch

    torch.save({"config": Hostile("checkpoint"), "state_dict": {}}, case.folder / "model.pth")


def other_users(case: Case) -> None:
    """The data set has other ids than when the checkpoint was made."""
    case.checkpoint()
    for name in ("train", "valid", "test"):
        case.rewrite(case.part(name), lambda lines: [ln for ln in lines if ln[:3] != "u0\t"])


def release(case: Case, **files: Any) -> None:
    folder = case.folder / "release" / "mine"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content))


def release_without_test(case: Case) -> None:
    from scipy.sparse import coo_matrix

    matrix = coo_matrix(np.eye(4, dtype=np.float32))
    release(case, trn_mat=matrix, val_mat=matrix)


def existing_import(case: Case) -> None:
    case.file("x.csv", "user_id,item_id\na,b\n")
    (case.folder / "dataset" / "mine").mkdir()


# ---- the table -------------------------------------------------------------------------------

ARGUMENTS = [
    Row("unknown model", ("--model=LightGNC", "--dataset=tiny"), ("'LightGNC'", "'LightGCN'?")),
    Row(
        "knowledge model",
        ("train", "--model=KGAT", "--dataset=tiny"),
        ("'KGAT'", "knowledge-aware", "LightGCN", "SASRec"),
    ),
    Row(
        "fixed split of sequences",
        ("train", "--model=SASRec", "--dataset=tiny"),
        ("benchmark_filename=['train', 'valid', 'test']", "order", "leave-one-out"),
    ),
    Row("no model", ("--dataset=tiny",), ("no model", "--model=LightGCN")),
    Row("no data set", ("--model=LightGCN",), ("no data set", "--dataset=")),
    Row(
        "unknown data set",
        ("--model=LightGCN", "--dataset=tyny"),
        ("'tyny'", "'tiny'?", "import"),
    ),
    Row("data set elsewhere", (..., "--data_path=nowhere"), ("'tiny'", "nowhere", "data_path")),
    Row("unknown sub-command", ("trian", "--model=LightGCN"), ("'trian'", "'train'?")),
    Row("unknown short option", ("-x",), ("'-x'", "--help")),
    Row("argument that is no option", ("train", "LightGCN"), ("'LightGCN'", "--option=value")),
    train("unknown option", "--n_centres=5", "'n_centres'", "'n_centers'?"),
    train("option of another model", "--mf_embedding_size=8", "'mf_embedding_size'"),
    train("option without a value", "--n_centers", "no value", "--n_centers=VALUE"),
    Row("model without a value", ("--dataset=tiny", "--model"), ("--model", "--help")),
    train("option twice", "--n_centers=4|--n_centers=5", "--n_centers", "twice"),
    train("model twice", "--model=BPR", "--model", "twice", "'BPR'"),
    train("unknown align", "--align=drec", "'drec'", "'darec'?"),
    train("unknown preset", "--preset=papr", "'papr'", "'paper'?"),
    train("unknown metric", "--metrics=['Recal']", "'Recal'", "'Recall'?"),
    train("valid_metric among no metrics", "--valid_metric=MAP@20", "'MAP@20'", "add MAP"),
    train("valid_metric among no topk", "--valid_metric=Recall@7", "'Recall@7'", "add 7 to topk"),
    train("valid_metric without cut-off", "--valid_metric=Recall", "write Recall@20"),
    train("K = 0", "--n_centers=0", "n_centers=0", "at least 1"),
    train("N-hat = 1", "--align_sample=1", "align_sample=1", "at least 2 or 'all'"),
    train("N-hat a word", "--align_sample=every", "align_sample='every'", "at least 2 or 'all'"),
    train("negative lambda", "--align_lambda=-0.1", "align_lambda=-0.1", "at least 0"),
    train("lambda not a number", "--align_lambda=nan", "align_lambda='nan'", "at least 0"),
    train("infinite weight", "--weight_glo=1e999", "weight_glo=inf", "finite"),
    train("mask ratio 0", "--align=rlmrec_gen|--mask_ratio=0", "mask_ratio=0", "above 0"),
    train("mask ratio 1", "--align=rlmrec_gen|--mask_ratio=1", "mask_ratio=1", "below 1"),
    train("temperature 0", "--align=rlmrec_con|--kd_temperature=0", "kd_temperature=0", "above 0"),
    train("temperature below 0", "--align=rlmrec_gen|--kd_temperature=-1", "kd_temperature=-1"),
    train("low temperature", "--align=relational|--target_temperature=0", "target_temperature=0"),
    train("no neighbour", "--align=relational|--n_neighbours=0", "n_neighbours=0", "at least 1"),
    train("no expert", "--align=kar|--kar_shared_experts=0", "kar_shared_experts=0", "at least 1"),
    train("unknown negatives", "--align=rlmrec_con|--negatives=none", "'none'", "batch, all"),
    train("a rival's option", "--align=darec|--kd_weight=1", "'kd_weight'",
          "--align=rlmrec_con, --align=rlmrec_gen and --align=relational_con, not to darec"),
    train("DaRec's option under a rival", "--align=rlmrec_con|--align_lambda=1", "'align_lambda'",
          "--align=darec, not to rlmrec_con"),
    train("no edge kept", "--edge_keep_rate=0", "edge_keep_rate=0", "above 0"),
    train("unknown control", "--profile_control=shuffled", "'shuffled'", "'shuffle'?"),
    train("unknown missing_profile", "--missing_profile=skip", "'skip'", "error, mean, zero"),
    train("unknown eval_mask", "--eval_mask=trained", "'trained'", "'train'?"),
    train("topk 0", "--topk=[0,20]", "topk=[0, 20]", "at least 1"),
    train("learning rate 0", "--learning_rate=0", "learning_rate=0", "above 0"),
    train("learning rate a word", "--learning_rate=fast", "learning_rate='fast'", "float"),
    train("negative epochs", "--epochs=-1", "epochs=-1", "at least 0"),
    train("seed too large", f"--seed={2**32}", "seed=4294967296", "at most"),
    train("unknown optimiser", "--learner=adm", "'adm'", "'adam'?"),
    train("split of two parts", "--eval_args={'split':{'RS':[8,2]}}", "[8, 2]", "[8,1,1]"),
    train("pickled data set", "--save_dataset=True", "save_dataset", "leave it out"),
    train("no config file", "--config_files=", "--config_files", "empty"),
    train("config file missing", "--config_files=none.yaml", "'none.yaml'", "does not exist"),
    train("config file a folder", "--config_files=dataset", "'dataset'", "cannot be read"),
    train(
        "yaml a list", "--config_files=a.yaml", "'a.yaml'", "holds a list", "option: value",
        prepare=lambda case: case.file("a.yaml", "- n_centers\n- 5\n"),
    ),
    train(
        "yaml broken", "--config_files=a.yaml", "'a.yaml'", "line 3", "not valid YAML",
        prepare=lambda case: case.file("a.yaml", "n_centers: 5\nmetrics: [Recall\n"),
    ),
    train(
        "unknown option in yaml", "--config_files=a.yaml", "'n_centres'", "a.yaml", "'n_centers'?",
        prepare=lambda case: case.file("a.yaml", "n_centres: 5\n"),
    ),
    train(
        "bad value in yaml", "--config_files=a.yaml", "align_lambda=nan", "finite",
        prepare=lambda case: case.file("a.yaml", "align_lambda: .nan\n"),
    ),
    train(
        "unknown option in the data set's yaml", "--n_centers=5", "'n_layrs'", "tiny.yaml",
        prepare=lambda case: (case.tiny.folder / "tiny.yaml").write_text("n_layrs: 5\n"),
    ),
    Row("evaluate nothing", ("evaluate",), ("CHECKPOINT", "--help")),
    Row("checkpoint missing", ("evaluate", "none.pth"), ("'none.pth'", "does not exist")),
    Row("two checkpoints", ("evaluate", "a.pth", "b.pth"), ("'b.pth'", "--option=value")),
    Row(
        "evaluate another model",
        ("evaluate", "a.pth", "--model=BPR"),
        ("'model'", "evaluate", "the checkpoint says"),
    ),
    Row(
        "evaluate with a training option misspelt",
        ("evaluate", "a.pth", "--eval_maks=train"),
        ("'eval_maks'", "'eval_mask'?"),
    ),
]  # fmt: skip

IMPORTS = [
    Row("import from nowhere", ("import",), ("SOURCE", "--help")),
    Row("import of an unknown kind", ("import", "rlmrek"), ("'rlmrek'", "rlmrec", "--help")),
    Row("import without a source", ("import", "rlmrec", "--dataset=a"), ("--source", "--help")),
    Row(
        "import with an unknown option",
        ("import", "rlmrec", "--dataset=a", "--source=b", "--quick"),
        ("'--quick'", "--help"),
    ),
    Row(
        "release missing",
        ("import", "rlmrec", "--source=none", "--dataset=mine"),
        ("none", "does not exist", "--source"),
    ),
    Row(
        "release without a matrix",
        ("import", "rlmrec", "--source=release", "--dataset=mine"),
        ("tst_mat.pkl", "missing"),
        release_without_test,
    ),
    Row(
        "hostile pickle",
        ("import", "rlmrec", "--source=release", "--dataset=mine"),
        ("trn_mat.pkl", "system"),
        lambda case: release(case, trn_mat=Hostile("import")),
    ),
    Row(
        "import over an existing folder",
        ("import", "table", "--interactions=x.csv", "--dataset=mine"),
        ("mine exists", "--overwrite"),
        existing_import,
    ),
    import_table("table of nothing", "user_id,item_id\n", "", "x.csv", "no interactions"),
    import_table("table of another kind", "a", "", "x.xlsx", ".parquet", file="x.xlsx"),
    import_table("no item column", "user_id,item\na,b\n", "", "'item_id'", "x.csv"),
    import_table("unknown split", "user_id,item_id,split\na,b,tran\n", "", "'tran'", "'train'?"),
    import_table("ragged table", "user_id,item_id\na,b\na\n", "", "x.csv", "row 2"),
    import_table("id lost in RecBole", "user_id,item_id\nNA,b\n", "", "'NA'", "rename"),
    import_table(
        "embeddings of nobody", "user_id,item_id\na,b\n", "--user-embeddings=u.npy", "--user-ids"
    ),
]

DATA = [
    train("interactions missing", "--seed=1", "tiny.valid.inter", "does not exist",
          prepare=lambda case: case.part("valid").unlink()),
    train("interactions empty", "--seed=1", "tiny.train.inter", "is empty",
          prepare=lambda case: case.part("train").write_text("")),
    train("header only", "--seed=1", "tiny.test.inter", "no interaction",
          prepare=lambda case: case.rewrite(case.part("test"), lambda lines: lines[:1])),
    train("split file without header", "--seed=1", "tiny.test.inter", "no header",
          "user_id:token",
          prepare=lambda case: case.rewrite(case.part("test"), lambda lines: lines[1:])),
    train("column missing", "--seed=1", "tiny.valid.inter", "'item_id'", "ITEM_ID_FIELD",
          prepare=without_column),
    train("interaction without an item", "--seed=1", "tiny.valid.inter", "line 10", "item_id",
          prepare=lambda case: case.rewrite(
              case.part("valid"), lambda lines: [*lines[:9], "u1\n", *lines[9:]])),
    train("an id that reads as missing", "--seed=1", "tiny.train.inter", "line 4", "NULL",
          prepare=lambda case: case.rewrite(
              case.part("train"), lambda lines: [*lines[:3], "NULL\ti2\n", *lines[3:]])),
    train("interactions not UTF-8", "--seed=1", "tiny", "utf-8",
          prepare=lambda case: case.part("train").write_bytes(
              case.part("train").read_bytes() + b"u\xff\ti1\n")),
    train("user who likes all items", "--seed=1", "'tiny'", "items", prepare=one_user_likes_all),
    other_model("a mask where nothing propagates", "BPR", "--align=rlmrec_gen",
                "propagates none", "graph model"),
    other_model("a wider representation of tables", "BPR", "--align=kar|--kar_fusion=concat",
                "kar_fusion=add"),
    other_model("a backbone without embeddings", "ItemKNN", "--align=kar", "--align=none"),
    train("more centers than users", "--n_centers=61", "n_centers=61", "there are users (60)"),
    train("topk above the items", "--topk=[20,41]", "41", "40 items"),
    train("a ragged embedding", "--seed=1", "tiny.useremb", "line 4", "15 numbers",
          prepare=lambda case: case.user_text(
              lambda lines: [*lines[:2], lines[2].rsplit(" ", 1)[0] + "\n", *lines[3:]])),
    train("NaN in an embedding", "--seed=1", "tiny.useremb", "line 4", "'nan'",
          prepare=lambda case: case.user_text(
              lambda lines: [*lines[:2], "u2\tnan " + lines[2].split(" ", 1)[1], *lines[3:]])),
    train("Inf in an embedding", "--seed=1", "tiny.useremb", "line 4", "'inf'",
          prepare=lambda case: case.user_text(
              lambda lines: [*lines[:2], "u2\tinf " + lines[2].split(" ", 1)[1], *lines[3:]])),
    train("NaN in a matrix", "--seed=1", "tiny.itememb.npy", "i7", "NaN", prepare=nan_in_npy),
    train("an id twice", "--seed=1", "tiny.useremb", "'u1'", "already",
          prepare=lambda case: case.user_text(lambda lines: [*lines, lines[1]])),
    train("another width than asked for", "--profile_width=32", "tiny.useremb.npy", "16", "32"),
    train("two widths", "--seed=1", "tiny.useremb.npy", "8", "16", "one encoder",
          prepare=narrow_users),
    train("profiles for half the users", "--seed=1", "30 of 60", "u30", "missing_profile=mean",
          prepare=half_of_the_users),
    train("profiles of other ids", "--seed=1", "none of the 60 users", "useru0",
          prepare=other_ids),
    train("no embeddings", "--profile_dir=nowhere", "nowhere", "tiny.useremb", "import",
          "--align=none"),
    train("matrix cut off", "--seed=1", "tiny.useremb.npy", "truncated",
          prepare=lambda case: cut_off(case.tiny.folder / "tiny.useremb.npy")),
    train("pickled matrix", "--seed=1", "tiny.useremb.npy", "Python objects",
          prepare=pickled_npy),
    train("more than the memory holds", "--embedding_size=100000000000000", "out of memory",
          "lower"),
    Row("model without embeddings", ("--model=Pop", "--dataset=tiny", "--epochs=1"),
        ("'Pop'", "LightGCN", "--align=none")),
]  # fmt: skip

CHECKPOINTS = [
    Row("checkpoint cut off", ("evaluate", "model.pth"), ("'model.pth'", "cut off"),
        lambda case: cut_off(case.checkpoint()), needs_checkpoint=True),
    Row("checkpoint with objects", ("evaluate", "model.pth"),
        ("'model.pth'", "holds objects", "train again"), recbole_checkpoint),
    Row("checkpoint of other data", ("evaluate", "model.pth"),
        ("'model.pth'", "60 users", "59 users"), other_users, needs_checkpoint=True),
    train("resume what is cut off", "--resume=model.resume", "'model.resume'", "cut off",
          prepare=lambda case: cut_off(case.checkpoint(".resume")), needs_checkpoint=True),
    train("resume nothing", "--resume=none.resume", "'none.resume'", "does not exist"),
    train("resume a finished model", "--resume=model.pth", "'model.pth'", "finished model",
          prepare=lambda case: case.checkpoint(), needs_checkpoint=True),
    train("resume with other options", "--resume=model.resume", "'model.resume'",
          "other options",
          prepare=lambda case: case.checkpoint(".resume"), needs_checkpoint=True),
    Row("resume another model",
        ("--model=BPR", "--dataset=tiny", "--align=none", "--resume=model.resume"),
        ("'model.resume'", "'LightGCN'", "'BPR'"),
        lambda case: case.checkpoint(".resume"), needs_checkpoint=True),
]  # fmt: skip

OUTPUT = [
    train("checkpoint folder below a file", "--checkpoint_dir=afile/saved", "afile/saved",
          "not a folder", "checkpoint_dir", prepare=lambda case: case.file("afile")),
    train("checkpoint folder read-only", "--checkpoint_dir=small/saved", "small/saved",
          "read-only", "checkpoint_dir", mount="ro"),
    train("read-only folder for the logs", "--data_path=../dataset", "'log'", "read-only",
          mount="ro", cwd="small"),
    train("full disk for checkpoints", "--checkpoint_dir=small|--seed=1", "small", "no room",
          "checkpoint_dir", mount="size=4k"),
    train("disk full in training", "--checkpoint_dir=small", "small/LightGCN", "No space left",
          "checkpoint_dir", mount="size=1m,nr_inodes=1", trains=True),
    train("loss not finite", "--align_lambda=1e30|--weight_glo=1e30",
          "not finite", "glo", "learning_rate", trains=True),
    Row("import to a full disk",
        ("import", "table", "--interactions=x.csv", "--dataset=mine", "--out=small"),
        ("small/mine", "No space left", "--out"),
        lambda case: case.file(
            "x.csv", "user_id,item_id\n" + "".join(f"{n},b\n" for n in range(5_000))),
        mount="size=8k"),
    Row("import to a read-only folder",
        ("import", "table", "--interactions=x.csv", "--dataset=mine", "--out=small"),
        ("small/mine", "Read-only", "--out"),
        lambda case: case.file("x.csv", "user_id,item_id\na,b\n"), mount="ro"),
]  # fmt: skip

TABLES = [ARGUMENTS, IMPORTS, DATA, CHECKPOINTS, OUTPUT]
TABLE = [row for table in TABLES for row in table]
# What an import would say stands on stderr, too.
AS_STARTED = {table[0].name for table in TABLES}


# ---- running it ------------------------------------------------------------------------------


def _tree(folder: Path) -> dict[str, str]:
    """Every file and folder below ``folder``, with a digest of its content."""
    return {
        path.relative_to(folder).as_posix(): (
            "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
    }


# $1 options of the tmpfs, $2 its place, $3 the list of what is left there, $4 the working folder;
# then the command.
_MOUNTED = """
mount -t tmpfs -o "$1" none "$2" && cd "$4" || exit 99
place="$2" list="$3"
shift 4
"$@"
code=$?
ls -A "$place" > "$list"
exit $code
"""


@functools.cache
def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _done(row: Row, case: Case) -> subprocess.CompletedProcess[str]:
    """Run a row's command, in a new interpreter where it is to be or where something is mounted."""
    given = [arg for part in row.args for arg in (case.tiny.quick[:2] if part is ... else [part])]
    if not row.mount and row.name not in AS_STARTED:
        return run_command(given, case.folder, environment())
    argv = command(given)
    if row.mount:
        place = case.folder / "small"
        left = case.folder.with_name("left")
        argv = ["unshare", "-rm", "sh", "-c", _MOUNTED, "sh", row.mount, str(place), str(left),
                str(case.folder / row.cwd), *argv]  # fmt: skip
    return subprocess.run(
        argv,
        cwd=case.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name.replace(" ", "-"))
def test_bad_input_ends_in_one_line_and_leaves_nothing(
    row: Row, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if row.mount and not _can_mount():
        pytest.skip("no user namespace in which a small file system can be mounted")
    folder = tmp_path / "here"
    interrupted = request.getfixturevalue("interrupted") if row.needs_checkpoint else None
    case = Case(folder, write_quick(folder / "dataset"), interrupted)
    row.prepare(case)
    if row.mount:
        (folder / "small").mkdir()
    before = _tree(folder)
    done = _done(row, case)
    after = _tree(folder)
    everything = f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in everything
    assert done.returncode == 2, everything
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if row.trains:
        # RecBole's log comes before the line.
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
        left = {name for name in after if name not in before}
        assert {name.split("/")[0] for name in left} <= {"log", "log_tensorboard", *_saved(row)}
        assert not [name for name in left if name.endswith(".tmp")]
    else:
        assert len(lines) == 1, done.stderr
        assert done.stdout == ""
        assert after == before
    if row.mount:
        assert (tmp_path / "left").read_text() == ""
    assert lines[-1].startswith("error: ")
    for word in row.words:
        assert word in lines[-1]


def _saved(row: Row) -> set[str]:
    """Where a run that fails after its first epochs keeps the best model so far."""
    return set() if row.mount else {"saved"}


def test_the_table_is_long_and_its_rows_differ() -> None:
    assert len(TABLE) >= 45
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert len({(row.args, row.prepare, row.mount, row.cwd) for row in TABLE}) == len(TABLE)
