"""The core imports, trains, resumes and evaluates where none of the extras is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import REPOSITORY, TinyDataset, environment
from tiny_runs import options

EXTRAS = (
    "ray", "hyperopt", "pyarrow", "openai", "tiktoken", "sentence_transformers", "transformers",
)  # fmt: skip

# As where they are not installed: `import ray` fails, and find_spec("ray") finds nothing.
WITHOUT_EXTRAS = f"""
import sys
for name in {EXTRAS!r}:
    assert name not in sys.modules, name
    sys.modules[name] = None
"""


def run_alone(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code],
        cwd=folder,
        env=environment({"PYTHONPATH": path}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_imports(tmp_path: Path) -> None:
    """All but those for tests, which need pytest."""
    done = run_alone(
        "import importlib, pathlib, recbole_darec\n"
        "sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "root = pathlib.Path(recbole_darec.__file__).parent\n"
        "files = [f.relative_to(root).with_suffix('') for f in root.rglob('*.py')]\n"
        "names = ['.'.join(('recbole_darec', *f.parts)) for f in files\n"
        "         if f.name != '__main__' and f.parts[0] != 'testing']\n"
        "for name in names:\n"
        "    importlib.import_module(name.removesuffix('.__init__'))\n"
        "print(len(names))",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_a_run_is_killed_resumed_and_evaluated(tiny_dataset: TinyDataset, tmp_path: Path) -> None:
    data_path = str(tiny_dataset.data_path)
    given: dict[str, Any] = {"epochs": 4}
    code = (
        "import json, os, pathlib\n"
        "from recbole_darec import evaluate_checkpoint, run_recbole_darec\n"
        "from training.killing import train_until\n"
        "if not (child := os.fork()):\n"
        f"    train_until({data_path!r}, {given!r}, ('step', 14))\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9\n"
        "assert len(list(pathlib.Path('saved').glob('*.resume'))) == 1\n"
        f"given = {options(tiny_dataset.data_path, **given, resume=True)!r}\n"
        "result = run_recbole_darec('LightGCN', 'tiny', config_dict=given)\n"
        "again = evaluate_checkpoint(result['model_file'])\n"
        "print('ANSWER', json.dumps([result['test_result'], again['test']]))"
    )
    resumed = run_alone(code, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    # By the one that was killed, and not again.
    assert resumed.stderr.count("epoch 0 training") == 1
    answer = next(x for x in resumed.stdout.splitlines() if x.startswith("ANSWER"))
    trained, evaluated = json.loads(answer.removeprefix("ANSWER"))
    assert trained == evaluated
    assert set(trained) >= {"recall@5", "ndcg@10"}
