# make demo | test | lint | up | down: each sets up .venv from the pinned constraints when it is not there yet.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes: tests of one module stay together, and those that share an Airflow (see tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# Without bytecode files every Airflow process compiles everything again: twice the time to start.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH

.PHONY: help venv demo test unit slow e2e matrix dist lint format docs up down benchmarks clean

help:
	@echo "make demo        score real data through a real DAG against the embedded emulator"
	@echo "make test        run the tests"
	@echo "make unit        run the unit tests only"
	@echo "make slow        run the tests that take minutes (many runs on a live Airflow)"
	@echo "make e2e         run every test: test, then slow"
	@echo "make matrix      run what needs no running Airflow on other versions of Airflow and Python"
	@echo "make dist        build wheel and sdist, install and test them in empty environments"
	@echo "make lint        ruff, mypy --strict, import contracts"
	@echo "make docs        build the documentation into site/; warnings are errors"
	@echo "make up          emulator and Airflow, until make down"
	@echo "make benchmarks  print every benchmark's ratios"

venv: $(READY)

$(READY): constraints.txt setup.cfg pyproject.toml
	@echo "Setting up $(VENV) (about two minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-deps --requirement constraints.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --editable .
	@$(BIN)/python -m pip check >/dev/null
	@$(BIN)/python -m compileall -q -j 2 $(VENV)/lib >/dev/null || true
	@touch $@

demo: $(READY)
	@$(BIN)/python demo/run.py

test: $(READY)
	$(PYTEST)

unit: $(READY)
	$(PYTEST) tests/unit

slow: $(READY)
	$(PYTEST) -m slow

e2e: test slow

matrix:
	@$(PYTHON) matrix/run.py

dist: $(READY)
	@$(BIN)/python matrix/dist.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir site
	@echo "Open site/index.html"

up: $(READY)
	@$(BIN)/python demo/up.py

down: $(READY)
	@$(BIN)/python demo/up.py --down

benchmarks: $(READY)
	@set -e; for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

clean:
	rm -rf $(VENV) .matrix .demo .up .mypy_cache .ruff_cache .pytest_cache site *.egg-info
