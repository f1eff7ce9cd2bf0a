# Two commands need nothing but Python 3.10 to 3.13, pip, make and git:
#   make run    train DaRec-LightGCN on MovieLens-100K and print its metrics
#   make test   ruff, mypy, pytest
# Both make .venv on their first call and install nothing on the second.
#
# PYTHON=python3.12   another Python than the first of the list below that is new enough
# STACK=current       on Python 3.11, the packages of 3.12 and newer, in .venv-current
# VENV=folder         another virtual environment

PYTHON ?= $(shell for p in python3 python python3.13 python3.12 python3.11 python3.10; do \
	"$$p" -c "import sys; sys.exit(sys.version_info < (3, 10))" 2>/dev/null && echo $$p && break; done)
STACK ?=
VENV ?= .venv$(if $(STACK),-$(STACK))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAINTS := $(if $(STACK),constraints-$(STACK).txt,constraints.txt)
SOURCES := setup.py pyproject.toml $(CONSTRAINTS)
RUN_ARGS ?= --model=LightGCN --dataset=ml-100k
export RECBOLE_DAREC_STACK := $(STACK)

ifneq ($(filter-out current,$(STACK)),)
$(error STACK is 'current' or nothing, not '$(STACK)': make test STACK=current PYTHON=python3.11)
endif

# The version of a Python that is new enough, 3.12 say; nothing for another, or for none.
version = $(shell "$(1)" -c "import sys; v = sys.version_info; \
	print('%d.%d' % v[:2] if v >= (3, 10) else '')" 2>/dev/null)
# An environment that is there stays what it is; whoever names another Python is told.
chosen := $(filter command environment,$(firstword $(origin PYTHON)))
found = $(if $(chosen),$(call version,$(BIN)/python))

.PHONY: run test test-slow clean check-python

run: check-python $(VENV)/installed
	$(BIN)/python run_recbole_darec.py $(RUN_ARGS)

test: check-python $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n logical --dist loadfile

test-slow: check-python $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

check-python:
	@$(if $(filter-out $(call version,$(PYTHON)),$(found)),$(error $(VENV) has Python $(found), \
	not that of $(PYTHON): make clean, or name another folder, as in VENV=.venv-other))

$(VENV)/bin/python:
	@$(if $(call version,$(PYTHON)),,$(error $(if $(PYTHON),'$(PYTHON)' is older than Python 3.10 or \
	does not run,no Python 3.10 or newer is found): name another, as in make run PYTHON=python3.12))
	$(PYTHON) -m venv $(VENV)

# RecBole without its requirements first: from Python 3.12 on, pip finds no ray for them.
define install
$(PIP) install --no-deps recbole==1.2.1
$(PIP) install -c $(CONSTRAINTS) -e "$(1)"
endef

$(VENV)/installed: $(SOURCES) | $(VENV)/bin/python
	$(call install,.)
	touch $@

$(VENV)/installed-test: $(SOURCES) | $(VENV)/bin/python
	$(call install,.[test])
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
