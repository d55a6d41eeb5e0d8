PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: demo test check types docs benchmark clean

demo: $(STAMP)  ## the main job, offline: 45 tasks on scikit-learn's digits
	CLEARML_OFFLINE_MODE=1 $(BIN)/python examples/digits_sweep.py

test: $(STAMP)  ## everything that matters, in under five minutes
	$(BIN)/python -m pytest -q -m "not slow" -n logical --maxprocesses 4 --dist loadgroup

check: $(STAMP)  ## lint and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

types: $(STAMP)  ## every public name has a complete type; from docs/, because pyright must not read this project's root
	cd docs && PYTHONPATH=../src ../$(BIN)/pyright --pythonpath ../$(BIN)/python --verifytypes clearml_taskgroup --ignoreexternal

docs: .venv/docs  ## the documentation, in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -n -E docs docs/_build/html

benchmark: $(STAMP)  ## beside raw ClearML, as ratios
	$(BIN)/python benchmarks/core.py
	$(BIN)/python benchmarks/online.py
	$(BIN)/python benchmarks/outbox.py
	$(BIN)/python benchmarks/map.py
	$(BIN)/python benchmarks/results.py

$(STAMP): pyproject.toml Makefile
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@

.venv/docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	touch $@

clean:
	rm -rf .venv docs/_build .pytest_cache .ruff_cache .mypy_cache .hypothesis
