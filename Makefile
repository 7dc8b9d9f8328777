# Clarion's commands. Each one sets up what it needs first; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up down test test-containers check format bench bench-quick clean
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
BOOTSTRAP := @deploy/scripts/bootstrap.sh
ARGS ?=

help: ## List the commands.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## Run the product here until Ctrl-C: http://127.0.0.1:8080 (CLARION_PORT, CLARION_GATEWAYS, ...).
	$(BOOTSTRAP) run
	@exec $(PYTHON) -m deploy.dev up

down: ## Stop a `make up` that was left.
	$(BOOTSTRAP) run
	@exec $(PYTHON) -m deploy.dev down

test: ## Run all tests; some: make test ARGS="unit -k names".
	$(BOOTSTRAP) test
	@exec $(PYTHON) tests/run.py $(ARGS)

test-containers: ## Test the images and docker-compose.yml, on the Docker engine that answers.
	$(BOOTSTRAP) test
	@deploy/scripts/test_containers.sh $(ARGS)

check: ## Lint, formats, types, import rules, lock file.
	$(BOOTSTRAP) check
	@exec deploy/scripts/check.sh

format: ## Format the code and mend what can be mended.
	$(BOOTSTRAP) check
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

bench: ## Measure Clarion beside stock Channels, Socket.IO and nchan (up to 40 minutes).
	$(BOOTSTRAP) bench
	@exec $(PYTHON) -m tests.load $(ARGS)

bench-quick: ## The same with small numbers, to see that it runs (3 minutes).
	$(BOOTSTRAP) bench
	@exec $(PYTHON) -m tests.load --quick $(ARGS)

clean: ## Stop the product; remove its state, caches and test artefacts (.venv stays).
	@if [ -x $(PYTHON) ] && [ -d .run ]; then $(PYTHON) -m deploy.dev down; fi
	@rm -rf .run .ruff_cache .pytest_cache .mypy_cache .import_linter_cache .hypothesis tests/artefacts
	@find libs services deploy tests -name __pycache__ -prune -exec rm -rf {} + -o -name .mypy_cache -prune -exec rm -rf {} +
