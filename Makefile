# MOON: two commands do all the set-up. `make train` trains, judges, packages; `make test` runs the tests.
# `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
RECIPE ?= configs/train_moon/demo.yaml
PORT ?= 3000
DATA ?= demo
BUDGET ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Quiet tools, whoever starts them: the same switches `moon setup` writes into the activate script.
export ZENML_ANALYTICS_OPT_IN := false
export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := True
export GX_ANALYTICS_ENABLED := false
export YOLO_OFFLINE := true
export YOLO_AUTOINSTALL := false

.DEFAULT_GOAL := help
.PHONY: help install setup train serve ui test test-fast lint types check ablation lock clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP)  ## Make .venv and install exactly what requirements.lock pins (editable).

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] < (3, 15); \
	sys.exit(0 if ok else f"MOON needs Python 3.11 to 3.14; {sys.executable} is {sys.version.split()[0]}.\n  fix: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@if command -v uv >/dev/null 2>&1; then \
		echo "installing with uv into $(VENV)"; \
		test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); \
		uv pip install --quiet --python $(BIN)/python -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		echo "installing with pip into $(VENV) (about 7 GB with PyTorch; minutes, depending on the network)"; \
		test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $@

setup: $(STAMP)  ## Register the local ZenML stack with its MLflow tracker (safe to repeat).
	@$(BIN)/moon setup

train: setup  ## Run train_moon; RECIPE=configs/train_moon/luma.yaml for another catalogue.
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/zenml pipeline run train_moon -c $(RECIPE)

serve: $(STAMP)  ## Serve the champion (else the challenger) from its Bento on PORT.
	@$(BIN)/moon serve --port $(PORT)

ui: $(STAMP)  ## Open the MLflow UI on the local store.
	@$(BIN)/mlflow ui

test: $(STAMP)  ## Run every test.
	@$(BIN)/python -m pytest

test-fast: $(STAMP)  ## Run the tests that run no whole pipeline.
	@$(BIN)/python -m pytest -m "not pipeline"

lint: $(STAMP)  ## Lint, formatting and import contracts; changes nothing.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: $(STAMP)  ## Type-check the packages.
	@$(BIN)/mypy

check: lint types test  ## All that CI checks.

# Learning rates are tried apart, before it, since a row costs a training: python -m benchmarks.ablation lr --data luma
ablation: $(STAMP)  ## Do what the ablation of DATA (demo, luma) still lacks, BUDGET minutes at most; write docs/RESULTS.md.
	@$(BIN)/python -m benchmarks.ablation baselines --data $(DATA)
	@$(BIN)/python -m benchmarks.ablation run --data $(DATA) $(if $(BUDGET),--budget-minutes $(BUDGET))
	@$(BIN)/python -m benchmarks.ablation report

lock:  ## Resolve pyproject.toml anew into requirements.lock (needs uv).
	uv pip compile --universal --python-version 3.11 --fork-strategy fewest --group dev pyproject.toml \
		-o requirements.lock --no-emit-index-url --no-header --no-annotate

clean:  ## Remove caches and the working folder; keeps runs, models and .venv.
	rm -rf .moon/work .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
