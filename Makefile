# `make demo` and `make test` do everything on a fresh machine; the others are for development.

SHELL := /bin/bash
.DEFAULT_GOAL := help
WITH_ENV := set -e; . tools/env.sh;
SOURCES := kalm_core kalm_ros kalm_sim test benchmarks launch tools setup.py

.PHONY: help setup demo test test-slow lint format type check docs clean

help: ## this list
	@grep -hE '^[a-z%-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([^:]+):[^#]*## /\1\t/' | expand -t 12
	@echo "bench-NAME  run benchmarks/NAME.py"

setup: ## virtual environment, packages and built workspace; the second run takes a second
	@tools/setup.sh

demo: setup ## record, learn and open ten unseen drawers in the simulator
	@$(WITH_ENV) python -m kalm_ros.demo $(ARGS)

test: setup ## all tests; ARGS="-k planning" runs some
	@$(WITH_ENV) tools/test.sh $(ARGS)

test-slow: setup ## networks at full size; KALM_SAM_WEIGHTS and KALM_DINO_WEIGHTS name true weights
	@$(WITH_ENV) python -m pytest -m slow $(ARGS)

lint: setup ## style
	@.venv/bin/ruff check $(SOURCES)
	@.venv/bin/ruff format --check $(SOURCES)

format: setup ## put the files into the style
	@.venv/bin/ruff check --fix-only $(SOURCES)
	@.venv/bin/ruff format $(SOURCES)

type: setup ## static types of the core
	@.venv/bin/mypy

check: lint type test ## what a change has to pass

docs: setup ## docs/benchmarks.md from the results files
	@.venv/bin/python -m benchmarks.document

# these compare with packages that the suite does not need
COMPARING := metaworld metaworld_baselines planning
bench-%: setup
	@$(if $(filter $*,$(COMPARING)),.venv/bin/python -m pip install \
		--disable-pip-version-check -q -r requirements/benchmarks.txt)
	@$(WITH_ENV) python -m benchmarks.$* $(ARGS)

clean: ## remove what was built, not what was recorded or learned
	rm -rf .venv build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
