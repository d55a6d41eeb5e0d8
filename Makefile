PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/installed
FRAMEWORKS := .venv-frameworks

.PHONY: demo test test-frameworks check types docs pictures package benchmark clean

demo: $(STAMP)  ## the main job, offline: 45 tasks on scikit-learn's digits
	CLEARML_OFFLINE_MODE=1 $(BIN)/python examples/digits_sweep.py

test: $(STAMP)  ## everything that matters, in under five minutes
	$(BIN)/python -m pytest -q -m "not slow and not frameworks" -n logical --maxprocesses 4 --dist loadgroup

test-frameworks: $(FRAMEWORKS)/installed  ## the integrations, with the frameworks themselves: large, in a place of their own
	$(FRAMEWORKS)/bin/python -m pytest -q -rs -m frameworks -n logical --maxprocesses 4 --dist worksteal
	@sed 's/^/not installed: /' $(FRAMEWORKS)/missing

check: $(STAMP)  ## lint and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

types: $(STAMP)  ## every public name has a complete type; from docs/, because pyright must not read this project's root
	cd docs && PYTHONPATH=../src ../$(BIN)/pyright --pythonpath ../$(BIN)/python --verifytypes clearml_taskgroup --ignoreexternal

docs: .venv/docs  ## the documentation, in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -n -E docs docs/_build/html

pictures: $(STAMP)  ## the pictures of README and documentation, from a real run; those of the report need a chromium
	$(BIN)/python -m docs.pictures.make

package: .venv/release  ## what is uploaded to a package index, built, checked and installed
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m venv --clear build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls dist/*.whl)[cli]"
	build/wheel/bin/clearml-taskgroup --version

benchmark: $(STAMP)  ## beside raw ClearML, as ratios
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/core.py
	$(BIN)/python benchmarks/loops.py
	$(BIN)/python benchmarks/online.py
	$(BIN)/python benchmarks/outbox.py
	$(BIN)/python benchmarks/map.py
	$(BIN)/python benchmarks/results.py

$(STAMP): pyproject.toml Makefile
	@echo "Setting up .venv with the development tools; the first time this takes a few minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@

.venv/docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	touch $@

.venv/release: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group release
	touch $@

$(FRAMEWORKS)/installed: pyproject.toml Makefile
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(FRAMEWORKS)/bin/python -m tests.support.install_frameworks $(FRAMEWORKS)/missing
	touch $@

clean:
	rm -rf .venv $(FRAMEWORKS) build dist docs/_build .pytest_cache .ruff_cache .mypy_cache .hypothesis
