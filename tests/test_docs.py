"""The documents: their links, commands and options exist, and their examples run."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import importlib.util
import json
import re
import shlex
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch.nn.functional import cosine_similarity

from recbole_darec.alignment.registry import ALIGNERS, aligner_names, aligner_options
from recbole_darec.backbones.registry import BACKBONES, read_options
from recbole_darec.cli.arguments import option_arguments, options_help
from recbole_darec.cli.evaluate import _refuse_training_options
from recbole_darec.cli.main import _parser, main
from recbole_darec.errors import DataError, OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import run_recbole_darec
from recbole_darec.settings.options import documentation, option_names
from recbole_darec.settings.recbole_models import recbole_model_keys
from recbole_darec.settings.recbole_options import recbole_keys
from recbole_darec.settings.run_options import COMMON_OPTIONS, FAMILY_OPTIONS
from recbole_darec.settings.values import parse_value, read_yaml
from recbole_darec.studies.study import read_study
from recbole_darec.studies.tuning_params import params_file
from recbole_darec.testing import ExpertAlignerContract, write_tiny_sequences
from recbole_darec.testing.aligner_contract import AlignerContract, embeddings, planted_step

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "atomic_data" / "README.md"]
)
SCRIPTS = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "docs" / "results").glob("*.py")]
GENERATOR = ROOT / "docs" / "make_configuration.py"


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the mark of the comment above it."""

    document: Path
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.text.strip().splitlines()[0][:40]}"


@cache
def blocks(document: Path) -> tuple[Block, ...]:
    fence = re.compile(r"(?:<!-- test: (\w+) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
    found = fence.finditer(document.read_text("utf-8"))
    return tuple(Block(document, m[2], m[3], m[1] or "") for m in found)


def marked(name: str, mark: str) -> str:
    (block,) = (b for b in blocks(ROOT / name) if b.mark == mark)
    return block.text


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)


def command_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        line = line.split(" #")[0].strip()
        if line and not line.startswith("#"):
            yield line


def all_commands() -> list[Any]:
    """Each command of a shell block, and each one that stands as code in a sentence."""
    commands: dict[tuple[str, str], None] = {}
    for document in DOCUMENTS:
        for block in blocks(document):
            if block.language == "sh":
                commands.update(((document.name, line), None) for line in command_lines(block.text))
        for code in re.findall(r"`([^`]+)`", prose(document)):
            if re.match(r"(recbole-darec (train|evaluate|import) -|make \w|pip install )", code):
                commands[document.name, code] = None
            if re.match(r"python \S+\.py|python run_recbole", code):
                commands[document.name, code] = None
    return [pytest.param(line, id=f"{name}:{line[:60]}") for name, line in commands]


COMMANDS = all_commands()

# ---- links -----------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", prose(document), re.M)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), f"{document.name} links to {target}"
        assert ROOT in [file.resolve(), *file.resolve().parents], f"{target} leaves the repository"
        if heading:
            assert heading in anchors(file), f"{document.name} links to {target}"


def test_the_method_names_functions_that_exist() -> None:
    text = (ROOT / "docs" / "method.md").read_text("utf-8")
    links = re.findall(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)", text)
    for name, file in links:
        defined = re.search(rf"^(def|class) {name}\b", (ROOT / file).read_text("utf-8"), re.M)
        assert defined, f"{name} is not in {file}"
    from recbole_darec.alignment import equations

    table = {name for name, _ in links}
    assert set(equations.__all__) - {"KERNELS", "unit_rows"} <= table, (
        "an equation is missing in the table"
    )


def test_the_package_table_names_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.split("## Modules")[1].split("## Who")[0]
    for row in re.findall(r"^\| (`.*?`) \|", table, re.M):
        for name in re.findall(r"`([^`]+)`", row):
            places = [ROOT / name, ROOT / "recbole_darec" / name]
            assert any(place.exists() for place in places), name
    for path in (ROOT / "recbole_darec").iterdir():
        if path.is_dir() and (path / "__init__.py").is_file():
            assert f"`{path.name}/`" in table or f"{path.name}/`" in table, path.name


# ---- commands --------------------------------------------------------------------------------


def own_words(line: str) -> list[str]:
    """The arguments of a command line, without the environment and the program in front."""
    words = shlex.split(line)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    return words


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_what_the_program_takes(line: str) -> None:
    words = own_words(line)
    program = words.pop(0).rpartition("/")[2]
    if program == "recbole-darec":
        check_cli(words)
    elif program == "make":
        check_make(words)
    elif program == "python" and words[0] == "-m":
        assert words[1] in ("pytest", "recbole_darec"), line
        assert all((ROOT / w).exists() for w in words[2:] if not w.startswith("-")), line
    elif program == "python":
        check_script(words)
    elif program == "pip":
        check_pip(words)
    elif program == "torchrun":
        assert words[1:3] == ["-m", "recbole_darec"], line
        check_cli(words[3:])
    elif program == "ray":
        assert words[0] == "start"
    elif program == "ruff":
        assert words[0] in ("check", "format")
    else:
        raise AssertionError(f"a command of an unknown program: {line}")


def check_cli(words: list[str]) -> None:
    """Parse as the command line does; everything but the data itself must be there."""
    if "--help" in words:
        with pytest.raises(SystemExit):
            _parser().parse_args(words)
        return
    args, rest = _parser().parse_known_args(words)
    if not getattr(args, "takes_options", False):
        assert not rest
        if args.command == "compare":
            bundled = ROOT / args.study
            read_study(str(bundled) if bundled.suffix == ".yaml" else args.study)
        return
    options = option_arguments(rest)
    if args.command == "evaluate":
        _refuse_training_options(options)
        return
    if args.command == "tune":
        given = {"align": args.align}
        params_file(args.params_file)
    else:
        given = {name: getattr(args, name) for name in ("align", "preset", "resume")}
    options.update(
        (k, parse_value(v) if isinstance(v, str) else v) for k, v in given.items() if v is not None
    )
    try:
        resolve(args.model or "LightGCN", args.dataset or "ml-100k", None, None, options)
    except DataError as error:
        if "unknown data set" not in str(error):  # the only thing that a reader brings
            raise


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([\w-]+):", makefile, re.M)
    variables = re.findall(r"^(\w+) \?=", makefile, re.M)
    for word in words:
        name, equals, value = word.partition("=")
        assert name in (variables if equals else targets), word
        if name == "RUN_ARGS":
            check_cli(["train", *shlex.split(value)])


def check_script(words: list[str]) -> None:
    script = ROOT / words[0]
    assert script.is_file(), words[0]
    command = {"run_recbole_darec.py": "train", "run_hyper_darec.py": "tune"}.get(script.name)
    if command is not None:
        check_cli([command, *words[1:]])
        return
    text = script.read_text("utf-8")
    for word in words[1:]:
        if word.startswith("--"):
            flag = word.partition("=")[0]
            assert f'"{flag}"' in text, f"{script.name} has no {word}"


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    if "-c" in words:
        assert (ROOT / words[words.index("-c") + 1]).is_file()
    setup = (ROOT / "setup.py").read_text("utf-8")
    for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
        for extra in extras.split(","):
            assert re.search(rf'^        "{extra}": \S', setup, re.M), extra


def test_a_wrong_command_is_noticed() -> None:
    """The checks above can fail."""
    with pytest.raises(OptionError):
        check_cli(["train", "--model=LightGCN", "--dataset=mine", "--align_lamda=1"])
    with pytest.raises(OptionError):
        check_cli(["import", "table", "--dataset", "mine", "--interactionz", "x.csv"])
    with pytest.raises(OptionError):
        check_cli(["evaluate", "x.pth", "--align_lambda=1"])
    with pytest.raises(AssertionError):
        check_make(["tests"])
    with pytest.raises(AssertionError):
        check_script(["benchmarks/epoch_time.py", "--datset", "mine"])
    with pytest.raises(AssertionError):
        check_pip(["install", ".[encoder]"])


def known_options() -> set[str]:
    ours = (*COMMON_OPTIONS, *FAMILY_OPTIONS.values())
    names = {*recbole_keys(), *recbole_model_keys("LightGCN"), *option_names(*ours)}
    names |= set(option_names(*map(read_options, BACKBONES.values())))
    names |= set(option_names(*map(aligner_options, aligner_names())))
    return names | parser_options(_parser())


def parser_options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of all sub-commands below it."""
    names = set()
    for action in parser._actions:
        names |= {option[2:] for option in action.option_strings if option.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            names |= {name for sub in action.choices.values() for name in parser_options(sub)}
    return names


def test_options_named_in_the_documents_exist() -> None:
    known = known_options()
    known |= {"help", "version", "check", "index-url", "no-deps", "strict"}
    known |= {"option", "cosine_weight"}  # for any option; the example's own
    for script in SCRIPTS:
        known |= set(re.findall(r'add_argument\(\s*"--([\w-]+)"', script.read_text("utf-8")))
    for document in DOCUMENTS:
        for code in re.findall(r"`([^`\n]+)`", prose(document)):
            for name in re.findall(r"(?<![\w-])--([A-Za-z][\w-]*)", code):
                assert name in known, f"{document.name}: --{name}"


# ---- configuration reference -----------------------------------------------------------------


@pytest.fixture
def generator() -> Any:
    spec = importlib.util.spec_from_file_location("make_configuration", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_and_the_property_files_are_current(generator: Any) -> None:
    files = generator.render()
    assert {path.split("/")[0] for path in files} == {"docs", "properties"}
    families = len(FAMILY_OPTIONS)
    assert len(files) == 2 + families + len(BACKBONES) + len(ALIGNERS) - 1, "none has no options"
    for path, text in files.items():
        assert (ROOT / path).read_text("utf-8") == text, "run: python docs/make_configuration.py"


def test_the_reference_has_each_option_with_its_default(generator: Any) -> None:
    text = generator.render()["docs/configuration.md"]
    groups = [(f"--model={name}", read_options(place)) for name, place in BACKBONES.items()]
    groups += [(f"--align={name}", aligner_options(name)) for name in aligner_names()]
    for title, group in groups:
        options = documentation(group)
        if not options:
            continue
        section = text.split(f"\n### `{title}`: `")[1].split("\n##")[0]
        for name, _, default, sentence in options:
            (row,) = (r for r in section.splitlines() if r.startswith(f"| `{name}` |"))
            cells = row.strip("| ").split(" | ")
            shown = json.dumps(default) if isinstance(default, list) else str(default)
            assert cells[2].strip("`") == ("null" if default is None else shown)
            assert cells[3] == sentence


def test_check_tells_a_stale_reference(
    generator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> int:
        return int(generator.main(arguments, root=tmp_path))

    for name in ("docs/configuration.md", "properties/align/darec.yaml"):
        target = tmp_path / name
        assert run("--check") == 1, "missing"
        assert run() == 0
        assert run("--check") == 0
        target.write_text("old", encoding="utf-8")
        assert run("--check") == 1, "stale"
        assert f"{target} is not current: python docs/make_configuration.py" in (
            capsys.readouterr().err
        )
        assert target.read_text("utf-8") == "old"
        target.unlink()


# ---- examples --------------------------------------------------------------------------------

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
PYTHON = [b for b in BLOCKS if b.language == "python" and b.mark != "registry"]
YAML = [b for b in BLOCKS if b.language == "yaml"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_examples_import_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("recbole"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module} has no {name.name}"


def test_keyword_arguments_of_the_examples_exist() -> None:
    import inspect

    from recbole.trainer import HyperTuning

    import recbole_darec

    functions: dict[str, Any] = {n: getattr(recbole_darec, n) for n in recbole_darec.__all__}
    functions["HyperTuning"] = HyperTuning
    seen = set()
    for block in PYTHON:
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in functions:
                name = node.func.id  # type: ignore[attr-defined]
                keywords = {str(k.arg): None for k in node.keywords}
                inspect.signature(functions[name]).bind(*node.args, **keywords)
                seen.add(name)
    assert {"run_recbole_darec", "load_data_and_model", "HyperTuning"} <= seen


@pytest.mark.parametrize("block", YAML, ids=str)
def test_yaml_examples_are_property_files(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(block.text, encoding="utf-8")
    if "datasets" in read_yaml(file):
        assert read_study(str(file)).methods()
        return
    settings = resolve("LightGCN", "ml-100k", [str(file)])
    content = read_yaml(file)
    for name in content.keys() - {"when"}:
        assert settings.values[name] == content[name]


def test_ones_own_data_come_in_by_the_readmes_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = (ROOT / "README.md").read_text("utf-8").split("## Your own data")[1].split("\n## ")[0]
    lines = list(command_lines(section.split("```sh\n")[1].split("```")[0]))
    bring, train = (shlex.split(line)[1:] for line in lines if line.startswith("recbole-darec"))
    monkeypatch.chdir(tmp_path)
    pairs = [f"u{u},i{(u * 7 + n) % 30}\n" for u in range(20) for n in range(10)]
    Path("interactions.csv").write_text("user_id,item_id\n" + "".join(pairs), encoding="utf-8")
    for kind, count in (("user", 20), ("item", 30)):
        lines = [json.dumps({"id": f"{kind[0]}{n}", "profile": f"text {n}"}) for n in range(count)]
        Path(f"{kind}s.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        np.save(f"{kind}s.npy", np.ones((count, 4), dtype=np.float32))
    assert main(bring) == 0
    args, rest = _parser().parse_known_args(train)
    assert not rest
    settings = resolve(args.model, args.dataset)
    assert settings.values["benchmark_filename"] == ["train", "valid", "test"]
    written = {path.name for path in Path("dataset/mine").iterdir()}
    assert {"mine.yaml", "mine.useremb.npy", "mine.itememb.tokens"} <= written


def aligner_example() -> types.ModuleType:
    module = types.ModuleType("documented_cosine")
    sys.modules[module.__name__] = module  # where dataclasses and type hints look names up
    code = marked("docs/architecture.md", "aligner")
    exec(compile(code, "docs/architecture.md", "exec"), module.__dict__)
    return module


class TestDocumentedAligner(AlignerContract):
    """The aligner of docs/architecture.md, registered by its line and held to the contract."""

    align = "cosine"
    refused: ClassVar = [("cosine_weight", -1.0)]

    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        line = marked("docs/architecture.md", "registry")
        ((name, location),) = ast.literal_eval("{" + line + "}").items()
        file, _, attribute = location.partition(":")
        assert f"`{file.replace('.', '/')}.py`:" in prose(ROOT / "docs" / "architecture.md")
        assert name == self.align
        module = aligner_example()
        monkeypatch.setitem(ALIGNERS, name, f"{module.__name__}:{attribute}")
        yield
        del sys.modules[module.__name__]

    def test_the_file_and_the_line_are_all_that_it_takes(self, generator: Any) -> None:
        """Its values hold before a property file is made, which is made with the reference."""
        section = (ROOT / "docs" / "architecture.md").read_text("utf-8")
        section = section.split("## Adding an aligner")[1].split("\n## ")[0]
        assert re.findall(r"<!-- test: (\w+) -->", section) == ["aligner", "registry"]
        assert len(marked("docs/architecture.md", "registry").splitlines()) == 1
        found = resolve("LightGCN", "ml-100k", None, None, {"align": self.align})
        options = documentation(aligner_options(self.align))
        assert {name: found.values[name] for name, *_ in options} == {"cosine_weight": 0.1}
        assert found.aligner == aligner_options(self.align)()
        files = generator.render()
        assert "cosine_weight: 0.1 " in files[f"properties/align/{self.align}.yaml"]
        assert "| `cosine_weight` |" in files["docs/configuration.md"]
        assert f"options of --align={self.align}:\n  --cosine_weight= [0.1]" in options_help()

    def test_its_option_is_checked_on_the_command_line(self) -> None:
        check_cli(["train", "--align=cosine", "--cosine_weight=1"])
        with pytest.raises(OptionError, match="did you mean 'cosine_weight'"):
            check_cli(["train", "--align=cosine", "--cosin_weight=1"])
        with pytest.raises(OptionError, match="belongs to --align=cosine"):
            check_cli(["train", "--align=darec", "--cosine_weight=1"])

    def test_it_is_the_mean_of_the_batchs_distances(self) -> None:

        aligner, table = self.make(), embeddings()
        step = planted_step(table)
        total, count = 0.0, 0
        for role in ("user", "item"):
            for row in step.batch[role].tolist():
                image = aligner.modules(step.profiles[row].float())
                total += 1.0 - float(cosine_similarity(table[row], image, dim=0).detach())
                count += 1
        found = float(aligner.losses(step)["cos"].detach())
        assert found == pytest.approx(0.1 * total / count, rel=1e-5)


class TestDocumentedPhases(ExpertAlignerContract):
    """The two-phase aligner of docs/architecture.md, held to the contract."""

    align = "documented_phases"

    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        module = types.ModuleType(self.align)
        sys.modules[module.__name__] = module
        exec(marked("docs/architecture.md", "phases"), module.__dict__)
        monkeypatch.setitem(ALIGNERS, self.align, f"{self.align}:TextThenBoth")
        yield
        del sys.modules[module.__name__]

    def test_it_trains_both_phases(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        data = write_tiny_sequences(tmp_path / "dataset").data_path
        small = {"hidden_size": 8, "inner_size": 8, "epochs": 1, "align": self.align}
        changed = {**small, "data_path": str(data), "show_progress": False}
        result = run_recbole_darec("SASRec", "tiny", config_dict=changed)
        stem = Path(result["model_file"]).stem
        assert (tmp_path / "saved" / f"{stem}.text.pth").is_file()
        assert (tmp_path / "saved" / f"{stem}.pth").is_file()
