"""The import graph of the package: who may know whom, no circles, no long files.

Drawn from the sources, so that late and type-only imports count, and modules that are imported by
name (``importlib.import_module``, the registries) as well. The table below is the one of
docs/architecture.md, "Who may know whom".
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

PACKAGE = REPOSITORY / "recbole_darec"
LONGEST = 300
EXCUSE = "Long because"

# A folder, or a module that stands beside the folders, and those it may import; every one may
# import errors and itself. A new one gets a line here and one in docs/architecture.md.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "resources": set(),
    "environment": set(),
    "ray_cluster": set(),
    # options, of everything above; what backbones and aligners there are is handed in
    "settings": {"environment", "resources"},
    # tensors
    "numerics": set(),
    "filters": {"numerics", "settings"},
    "alignment.equations": {"numerics"},
    # files and ids
    "data": set(),
    "embeddings": {"data"},
    "sources": {"data", "embeddings", "settings"},
    # models
    "alignment": {"alignment.equations", "filters", "numerics", "settings"},
    "backbones": {"environment", "filters", "numerics", "settings"},
    "resolve": {"alignment", "backbones", "settings"},
    "recbole_compat": {"data", "environment", "numerics", "settings"},
    "evaluation": {"data", "numerics", "recbole_compat", "settings"},
    "training": {"data", "evaluation", "numerics", "recbole_compat", "settings"},
    "aligned": {
        "alignment", "alignment.equations", "data", "embeddings", "numerics", "resources",
        "settings",
    },
    # texts
    "llm": {"resources", "settings"},
    "profiles": {"data", "llm", "resolve", "resources", "settings"},
    "encoders": {"data", "embeddings", "llm", "ray_cluster", "settings"},
    # where everything meets
    "run_data": {"evaluation", "recbole_compat", "training"},
    "prepared": {
        "aligned", "backbones", "evaluation", "recbole_compat", "run_data", "settings", "training",
    },
    "run": {"evaluation", "prepared", "recbole_compat", "resolve", "settings", "training"},
    "loaded": {"alignment", "evaluation", "resolve", "run", "settings", "training"},
    "cold_items": {"aligned", "evaluation", "loaded", "numerics"},
    "serving": {
        "aligned", "alignment", "data", "embeddings", "encoders", "evaluation", "loaded",
        "numerics", "resources", "settings",
    },
    "studies": {
        "", "aligned", "alignment", "backbones", "data", "embeddings", "loaded", "ray_cluster",
        "recbole_compat", "resolve", "resources", "run", "settings", "training",
    },
    "": {"aligned", "cold_items", "loaded", "recbole_compat", "run", "serving"},
    "cli": {
        "", "cold_items", "data", "encoders", "environment", "evaluation", "llm", "loaded",
        "profiles", "resolve", "run", "serving", "settings", "sources", "studies",
    },
    "__main__": {"cli"},
    "testing": {"", "alignment", "embeddings", "resolve", "run", "settings"},
}  # fmt: skip

# Packages of others that only some folders may import.
MAY_USE: dict[str, set[str]] = {
    "recbole": {
        "aligned", "backbones", "cold_items", "evaluation", "recbole_compat", "serving",
        "training",
    },
    "torch": {
        "aligned", "alignment", "alignment.equations", "backbones", "cold_items", "encoders",
        "evaluation",
        "filters", "numerics", "prepared", "recbole_compat", "serving", "testing",
        "training",
    },
    "pytest": {"testing"},
    # Connections are made in llm; the others tell the client's errors apart, and ask whether a Ray
    # address answers.
    "openai": {"encoders", "llm", "profiles"},
    "socket": {"ray_cluster"},
    "aiohttp": {"llm"},
    "httpx": {"llm"},
    "requests": {"llm"},
    "urllib.request": {"llm"},
}  # fmt: skip

_ON_THE_WAY = "on the way"


@dataclass(frozen=True, order=True)
class Edge:
    """One import: the importing module, its line, the module imported, and how."""

    source: str
    line: int
    target: str
    how: str = ""

    def __str__(self) -> str:
        how = f" ({self.how})" if self.how else ""
        return f"{self.source}:{self.line} imports {self.target}{how}"


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package by its full name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def edges_of(package: Path) -> tuple[list[Edge], list[Edge]]:
    """The imports among a package's modules, and those of other packages."""
    modules = modules_of(package)
    own: list[Edge] = []
    others: list[Edge] = []
    for name, path in modules.items():
        for edge in _imports(name, path):
            target = _module(edge.target, modules)
            if edge.how == "by name" and edge.target not in modules:
                continue  # a text like any other
            if target is None:
                others.append(edge)
                continue
            own.append(dataclasses.replace(edge, target=target))
            # What a module stands in is imported before it, unless we stand in it, too.
            own += [
                Edge(name, edge.line, folder, _ON_THE_WAY)
                for folder in _folders_above(target)
                if folder != name and folder not in _folders_above(name)
            ]
    return sorted(set(own)), sorted(set(others))


def _imports(name: str, path: Path) -> Iterator[Edge]:
    """Everything that a module imports, at its top, late, for types or by name."""
    tree = ast.parse(path.read_text("utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    how = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            how.update({id(inner): "late" for inner in ast.walk(node)})
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            how.update({id(inner): "for types" for inner in ast.walk(node)})
    for node in ast.walk(tree):
        here = how.get(id(node), "")
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Edge(name, node.lineno, alias.name, here)
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level + (node.module or "")
            start = importlib.util.resolve_name(dots, package) if node.level else dots
            for alias in node.names:
                yield Edge(name, node.lineno, f"{start}.{alias.name}", here)
        elif isinstance(node, ast.Constant) and "." in str(node.value):
            yield Edge(name, node.lineno, str(node.value).partition(":")[0], "by name")


def _module(dotted: str, modules: Mapping[str, Path]) -> str | None:
    """The module that a dotted name is, or is an attribute of."""
    if dotted in modules:
        return dotted
    parent = dotted.rpartition(".")[0]
    return parent if parent in modules else None


def _folders_above(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def area(module: str, areas: Mapping[str, object] = MAY_IMPORT) -> str:
    """The line of the table that a module falls under, or its folder if there is none."""
    inner = module.partition(".")[2]
    parts = inner.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in areas:
            return ".".join(parts[:n])
    return parts[0]


def circles(edges: Mapping[tuple[str, str], list[Edge]]) -> list[list[Edge]]:
    """For each circle, the imports between its members."""
    names = sorted({name for pair in edges for name in pair})
    number = {name: n for n, name in enumerate(names)}
    rows, columns = ([number[pair[side]] for pair in edges] for side in (0, 1))
    graph = csr_matrix((np.ones(len(edges)), (rows, columns)), shape=(len(names),) * 2)
    _, label = connected_components(graph, connection="strong")
    found: dict[int, list[Edge]] = {}
    for (source, target), imports in edges.items():
        if source != target and label[number[source]] == label[number[target]]:
            found.setdefault(int(label[number[source]]), []).extend(imports)
    return list(found.values())


def direct(edges: list[Edge]) -> list[Edge]:
    return [edge for edge in edges if edge.how != _ON_THE_WAY]


def between_modules(edges: list[Edge]) -> dict[tuple[str, str], list[Edge]]:
    found: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        found.setdefault((edge.source, edge.target), []).append(edge)
    return found


def between_folders(edges: list[Edge], package: Path) -> dict[tuple[str, str], list[Edge]]:
    """The imports between folders; a module that stands beside the folders counts as one."""
    modules = modules_of(package)

    def folder(module: str) -> str:
        inside = modules[module].parent
        return module if inside == package else inside.relative_to(package).as_posix()

    found: dict[tuple[str, str], list[Edge]] = {}
    for edge in direct(edges):
        pair = folder(edge.source), folder(edge.target)
        if pair[0] != pair[1]:
            found.setdefault(pair, []).append(edge)
    return found


def listed(violations: list[str]) -> str:
    return "\n".join([f"{len(violations)} violations:", *violations])


EDGES, OTHERS = edges_of(PACKAGE)


def test_no_two_modules_import_each_other_whatever_lies_between() -> None:
    found = [
        "a circle:\n" + "\n".join(f"  {edge}" for edge in circle)
        for circle in circles(between_modules(EDGES))
    ]
    assert not found, listed(found)


def test_no_two_folders_import_each_other_whatever_lies_between() -> None:
    found = [
        "a circle:\n" + "\n".join(f"  {edge}" for edge in circle)
        for circle in circles(between_folders(EDGES, PACKAGE))
    ]
    assert not found, listed(found)


def test_each_folder_imports_what_it_may_know() -> None:
    found = []
    for edge in direct(EDGES):
        source, target = area(edge.source), area(edge.target)
        allowed = MAY_IMPORT.get(source)
        if allowed is None:
            found.append(f"'{source}' has no line in MAY_IMPORT: {edge}")
        elif target not in {*allowed, source, "errors"}:
            found.append(f"{source or 'the package'} may not know {target}: {edge}")
    assert not found, listed(found)


def test_packages_of_others_are_imported_where_they_belong() -> None:
    found = [
        f"{area(edge.source)} may not use {package}: {edge}"
        for edge in OTHERS
        for package, users in MAY_USE.items()
        if f"{edge.target}.".startswith(f"{package}.") and area(edge.source) not in users
    ]
    assert not found, listed(found)


def test_the_table_has_no_line_too_many() -> None:
    areas = {area(name) for name in modules_of(PACKAGE)}
    assert set(MAY_IMPORT) == areas
    assert set().union(*MAY_IMPORT.values(), *MAY_USE.values()) <= areas


def test_no_file_is_long_without_a_reason() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        n_lines = len(text.splitlines())
        if n_lines > LONGEST and EXCUSE not in (ast.get_docstring(ast.parse(text)) or ""):
            found.append(f"{path.relative_to(REPOSITORY)}: {n_lines} lines")
    assert not found, listed([*found, f"split it, or say '{EXCUSE} …' in its docstring"])


# ---- the drawing itself ----------------------------------------------------------------------


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A package in which each way of importing is used once."""
    package = tmp_path / "pack"
    files = {
        "__init__.py": "import json\n",
        "low/__init__.py": "from pack.low.words import WORD\n",
        "low/words.py": "WORD = 'pack.low is only text here'\n",
        "high/__init__.py": "",
        "high/top.py": "from pack.low import WORD\nimport pack.high.other as other\n",
        "high/other.py": "def f():\n    from . import late\n",
        "high/late.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.high.top import f\n"
        ),
        "named.py": "HOME = 'pack.high.top:f'\nFILE = 'pack.txt'\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_each_way_of_importing_is_drawn(drawn: Path) -> None:
    own, others = edges_of(drawn)
    assert {(e.source, e.target, e.how) for e in own} == {
        ("pack.low", "pack.low.words", ""),
        ("pack.high.top", "pack.low", ""),
        ("pack.high.top", "pack.high.other", ""),
        ("pack.high.other", "pack.high.late", "late"),
        ("pack.high.late", "pack.high.top", "for types"),
        ("pack.named", "pack.high", "on the way"),
        ("pack.named", "pack.high.top", "by name"),
    }
    assert {(e.source, e.target) for e in others} == {
        ("pack", "json"),
        ("pack.high.late", "typing.TYPE_CHECKING"),
    }


def test_circles_are_found_between_modules_and_between_folders(drawn: Path) -> None:
    own, _ = edges_of(drawn)
    (circle,) = circles(between_modules(own))
    assert {edge.source for edge in circle} == {
        "pack.high.top",
        "pack.high.other",
        "pack.high.late",
    }
    assert circles(between_folders(own, drawn)) == []
    (drawn / "low" / "words.py").write_text("def f():\n    import pack.high.late\n")
    own, _ = edges_of(drawn)
    (circle,) = circles(between_folders(own, drawn))
    assert {edge.source for edge in circle} == {"pack.high.top", "pack.low.words"}


def test_a_folder_that_imports_itself_is_a_circle(drawn: Path) -> None:
    (drawn / "low" / "words.py").write_text("from pack.low import WORD\n")
    own, _ = edges_of(drawn)
    assert any({e.source for e in c} == {"pack.low", "pack.low.words"} for c in
               circles(between_modules(own)))  # fmt: skip
