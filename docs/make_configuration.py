# ruff: noqa: E501 - a row of a table is one line
"""Write docs/configuration.md and the property files from the declared options.

python docs/make_configuration.py           # write them
python docs/make_configuration.py --check   # write nothing; exit with 1 if one is not current
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from recbole_darec.alignment.registry import aligner_class, aligner_names  # noqa: E402
from recbole_darec.backbones.registry import BACKBONES, backbone_class  # noqa: E402
from recbole_darec.environment import recbole_dir  # noqa: E402
from recbole_darec.resources import properties_dir  # noqa: E402
from recbole_darec.settings.options import Options, documentation, option_names  # noqa: E402
from recbole_darec.settings.property_files import property_file, section  # noqa: E402
from recbole_darec.settings.recbole_options import CheckedRecBoleOptions  # noqa: E402
from recbole_darec.settings.run_options import COMMON_OPTIONS, FAMILY_OPTIONS  # noqa: E402
from recbole_darec.settings.values import read_yaml  # noqa: E402

OVERALL = """\
# Defaults of every run.  They stand above RecBole's own defaults and below everything else; see
# docs/configuration.md for the order and for each option's permitted values.
"""

HEAD = """\
# Configuration

<!-- Written by docs/make_configuration.py from the declared options; do not edit. -->

An option is given as `--option=value` (or `--option value`) on the command line, as a key of a
`config_dict`, or as `option: value` in a property file. RecBole's own options are given in the same
ways. A misspelt option or a value that is not permitted ends the run before anything is read or
written, with the nearest known name.

## Which value counts

Later ones win:

1. RecBole's defaults, and where a method has no property file yet, its own
2. `properties/overall.yaml`
3. `properties/family/<family>.yaml`: `sequential.yaml` for a sequential model
4. `properties/model/<model>.yaml`
5. `properties/align/<align>.yaml`
6. `properties/dataset/<dataset>.yaml`
7. `<data_path>/<dataset>/<dataset>.yaml`, the data set's own
8. `properties/preset/<preset>.yaml`, if `preset` is given
9. your files, `--config_files="a.yaml b.yaml"` or `config_file_list`, later ones over earlier ones
10. `config_dict`
11. the command line

`model` and `dataset` may stand in your files or in `config_dict`; the argument or `--model` and
`--dataset` win. A file may hold options of several models and aligners, of which those of this run
count. In `config_dict` and on the command line an option must belong to this run's model and
aligner; with `--align=none` the options of every aligner are accepted and have no effect, so that
one word makes a command its own control. A recommender class of your own may read options that nobody
declared; for it the names are not checked.

Numbers, `True`, `None`, lists and mappings are written as in Python or YAML:
`--topk=[5,10,20]`, `--eval_args="{'split': {'RS': [3,1,1]}}"`. `null`, `~` and `None` mean no value.
An option of RecBole that is null keeps RecBole's default, unless null means something to RecBole.
"""

RECBOLE = """\
## RecBole's options

All of RecBole's options are accepted, with these exceptions and changes:

| option | what is different | reason |
| --- | --- | --- |
| `save_dataset`, `dataset_save_path`, `save_dataloaders`, `dataloaders_save_path` | refused | RecBole would load pickled objects without checking them |
| `model` | general and sequential recommenders only | the others want features of users and items, or a graph of knowledge |
| `loss_type` | refused for sequential models; see `rank_loss` | RecBole has no binary cross entropy for them, and takes the padding for a class |
| `learner` | must be one that RecBole has | RecBole takes Adam for a name that it does not know |
| `valid_metric` | must be among `metrics` and `topk` | RecBole fails after the first epoch |
| `benchmark_filename` | three names: training, validation, test; refused for sequential models | RecBole needs exactly three; they say nothing of the order |
| `eval_args` | its keys, ratios and words are checked | RecBole fails late or reads them in another way |
| `eval_batch_size` | not used when all items are ranked; see `eval_batch_users` | it counts user-item pairs: one user at a time on a large data set |
| `metric_decimal_place` | no effect | metrics are not rounded |
| `use_gpu` | `False` means the CPU | RecBole chooses the device by `gpu_id` alone |
| `seed` | does not decide a ratio split when `split_seed` is a number | runs with several seeds need one test set |
| `data_path` | a folder `ml-100k` in it is read | RecBole reads its own ml-100k wherever a copy lies |
| `alias_of_user_id`, `alias_of_item_id`, `additional_feat_suffix`, `preload_weight` | not needed for profile embeddings | they would make each token of the file a candidate of the ranking |
| `sys.argv` | not read outside the command line | arguments of a test runner or tuning worker would become options |

These are checked before RecBole is imported:

| option | type and permitted values | what it does |
| --- | --- | --- |
"""

PRESETS = """\
## Presets and conditions

`--preset=NAME` reads `properties/preset/NAME.yaml` between the data set's properties and your files:

"""

WHEN = """
A property file may hold options for some models, data sets or aligners only. Each entry of `when`
names one or more of `family` (`general` or `sequential`), `model`, `dataset` and `align` (a value or a
list of values) and the options that it sets; entries are read in their order, after the other options of the file:

```yaml
embedding_size: 32
when:
  - {model: LightGCN, set: {n_layers: 3, reg_weight: 1.0e-6}}
  - {model: LightGCN, dataset: [steam, yelp], set: {n_layers: 2}}
  - {align: darec, set: {n_centers: 4}}
```

`when` is read in files, not in `config_dict` or on the command line.
"""


def render() -> dict[str, str]:
    """Return the text of every file that is made from the options, by its path in the checkout."""
    groups = [f"\n# {_about(group)}\n{section(group)}" for group in COMMON_OPTIONS]
    files = {"properties/overall.yaml": OVERALL + "".join(groups)}
    for family, group in FAMILY_OPTIONS.items():
        files[f"properties/family/{family}.yaml"] = property_file(_about(group), group)
    for kind, methods in (("model", _backbones()), ("align", _aligners())):
        for name, method in methods.items():
            title = str(sys.modules[method.__module__].__doc__).splitlines()[0]
            file = f"properties/{kind}/{name}.yaml"
            files[file] = property_file(title, method.Options)
    return {**files, "docs/configuration.md": _reference()}


def _backbones() -> dict[str, Any]:
    return {name: backbone_class(name) for name in BACKBONES}


def _aligners() -> dict[str, Any]:
    """Return the aligners that have options."""
    methods = {name: aligner_class(name) for name in aligner_names()}
    return {name: method for name, method in methods.items() if option_names(method.Options)}


def _about(group: type[Options]) -> str:
    return str(group.__doc__).splitlines()[0]


def _reference() -> str:
    """Return docs/configuration.md."""
    sections = [HEAD, "## This package's options\n"]
    sections += [_options("Every run", group) for group in COMMON_OPTIONS]
    sections += [_options(f"Every {family} model", g) for family, g in FAMILY_OPTIONS.items()]
    for kind, methods in (("model", _backbones()), ("align", _aligners())):
        sections += [_options(f"`--{kind}={name}`", m.Options) for name, m in methods.items()]
    sections += [_shipped_values(), _recbole_options(), _presets()]
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def _options(title: str, group: type[Options]) -> str:
    """One table: option, type and permitted values, default, sentence."""
    rows = [
        f"| `{name}` | {_cell(kind)} | {_value(default)} | {_cell(sentence)} |"
        for name, kind, default, sentence in documentation(group)
    ]
    head = f"### {title}: `{group.__name__}`\n\n{_about(group)}\n\n"
    return (
        head
        + "| option | type and permitted values | default | what it does |\n"
        + "\n".join(["| --- | --- | --- | --- |", *rows])
    )


def _shipped_values() -> str:
    """One table: what the property files set of RecBole's own options."""
    of_recbole = recbole_dir() / "properties"
    known = read_yaml(of_recbole / "dataset" / "sample.yaml")
    known.update(read_yaml(of_recbole / "overall.yaml"))
    files: list[tuple[str, dict[str, Any]]] = [
        (
            "overall.yaml",
            {k: v for group in COMMON_OPTIONS for k, v in group.RECBOLE_DEFAULTS.items()},
        )
    ]
    for family, group in FAMILY_OPTIONS.items():
        files.append((f"family/{family}.yaml", dict(group.RECBOLE_DEFAULTS)))
    for name, method in sorted(_backbones().items()):
        files.append((f"model/{name}.yaml", dict(method.Options.RECBOLE_DEFAULTS)))
    for name, method in sorted(_aligners().items()):
        files.append((f"align/{name}.yaml", dict(method.Options.RECBOLE_DEFAULTS)))
    methods = [*_backbones().values(), *_aligners().values()]
    ours = option_names(
        *COMMON_OPTIONS, *FAMILY_OPTIONS.values(), *(method.Options for method in methods)
    )
    for path in sorted((properties_dir() / "dataset").glob("*.yaml")):
        values = {k: v for k, v in read_yaml(path).items() if k not in ours}
        files.append((f"dataset/{path.name}", values))
    rows = []
    for file, values in files:
        defaults = dict(known)
        if file.startswith("model/") and (of_recbole / file).is_file():
            defaults.update(read_yaml(of_recbole / file))
        for name, value in values.items():
            before = _value(defaults[name]) if name in defaults else ""
            rows.append(f"| `{name}` | {_value(value)} | {before} | `{file}` |")
    return (
        "## RecBole's options that the property files set\n\n"
        "| option | value | RecBole's default | file in `properties/` |\n"
        + "\n".join(["| --- | --- | --- | --- |", *rows])
    )


def _recbole_options() -> str:
    rows = [
        f"| `{name}` | {_cell(kind)} | {_cell(sentence)} |"
        for name, kind, _, sentence in documentation(CheckedRecBoleOptions)
    ]
    return RECBOLE + "\n".join(rows)


def _presets() -> str:
    lines = []
    for path in sorted((properties_dir() / "preset").glob("*.yaml")):
        words = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            words.append(line.lstrip("# "))
        link = f"../properties/preset/{path.name}"
        lines.append(f"- [`{path.stem}`]({link}): {' '.join(words)}")
    return PRESETS + "\n".join(lines) + "\n" + WHEN


def _value(value: Any) -> str:
    """A value as one writes it in a property file."""
    if isinstance(value, bool):
        return f"`{value}`"
    if value is None:
        return "null"
    text = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the files below ``root``, or check them; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    args = parser.parse_args(argv)
    files = {root / name: text for name, text in render().items()}
    stale = [
        path
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if not args.check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path} is not current: python docs/make_configuration.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
