# What a newcomer types. Everything lives inside the checkout; `make clean` leaves only what git knows.

PYTHON ?= python3
UV_VERSION := 0.13.9
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC's memory of digests, by default in /var/tmp
export DVC_SITE_CACHE_DIR := $(CURDIR)/.dvc/tmp/site
# bytecode makes every import twice as fast, and stages are processes
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run setup test faults lint bench stack stack-down stack-status deploy lock licences clean help

help: ## what can be made
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

run: setup ## train, judge, export and register on the data of params.yaml
	@python -m flows.training

setup: .venv/.installed ## install exactly what requirements.lock names into .venv

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: python: 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); name another one: make PYTHON=python3.12" >&2; exit 2; }
	@test -x .venv/bin/uv || { $(PYTHON) -m venv .venv && .venv/bin/pip install --quiet uv==$(UV_VERSION); }
	@uv pip install --quiet --compile-bytecode --require-hashes --requirements requirements.lock
	@touch $@

test: setup lint ## lint and run every test
	@./tests/install-tools
	@python -m pytest -n 2 --dist loadfile

faults: setup ## kill, fill disks, spoil files, break servers; what came of it goes to docs/faults.md (an hour)
	@./tests/install-tools
	@python -m tests.faults

lint: setup
	@ruff check --quiet
	@ruff format --check --quiet
	@lint-imports --no-cache | tail -n 3
	@python -m infra.known_bad

bench: setup ## measured ratios: this code against the usual loop, one process, interleaved
	@python -m tests.benchmarks

study-%: setup ## a longer study, e.g. study-zoo: the whole zoo on Fashion-MNIST; results in docs/studies/
	@python -m tests.studies $*

stack: setup ## start real servers on loopback: PostgreSQL, S3, MLflow, Prefect and a worker; data in .stack/
	@python -m infra.stack up

stack-down: setup ## stop them and leave their data
	@python -m infra.stack down

stack-status: setup ## how they are
	@python -m infra.stack status

deploy: setup ## write what prefect.yaml deploys into the server of `make stack`
	@test -f .stack/env || { echo 'error: .stack: there is no stack in this checkout; start one with `make stack`' >&2; exit 2; }
	@. .stack/env && prefect --no-prompt deploy --all

lock: ## resolve requirements.lock anew, and the part of it that a served model needs
	@uv pip compile $(COMPILE) --extra dev --extra ray pyproject.toml --output-file requirements.lock
	@uv pip compile $(COMPILE) --constraints requirements.lock infra/docker/serve.in --output-file infra/docker/serve.lock

licences: setup ## list the licence of every package in docs/licences.md
	@python -m infra.licences

clean: ## remove everything that was made here
	@git clean -fdXq
