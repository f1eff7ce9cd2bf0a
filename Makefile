# Two commands need nothing but Python 3.9 to 3.11, pip, make and git:
#   make run    train DaRec-LightGCN on MovieLens-100K and print its metrics
#   make test   ruff, mypy, pytest
# Both make .venv on their first call and install nothing on the second.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_ARGS ?= --model=LightGCN --dataset=ml-100k

.PHONY: run test test-slow clean

run: $(VENV)/installed
	$(BIN)/python run_recbole_darec.py $(RUN_ARGS)

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n logical --dist loadfile

test-slow: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.py constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: setup.py constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e ".[test]"
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
