# `make` lists the targets. Each of them makes its own virtual environment first, when that is missing or stale: older
# than pyproject.toml, with a Python that no longer starts, or with another one than was asked for.
# Only a Python (3.11 or newer), git and make must be there: `make PYTHON=python3.13 test` picks one.

PYTHON ?= python3
ARGS ?=
python := .venv/bin/python
# What is installed there: the little that the demo needs, or all tools.
demo := .venv/installed-demo
dev := .venv/installed-dev

version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
found := $(call version,$(python))
wanted := $(if $(filter file,$(origin PYTHON)),$(found),$(call version,$(PYTHON)))

# Some environments forbid bytecode; without it every worker and process that a test starts compiles all again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-rq serve test test-all lint bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(demo) ## Run a few example workflows in the terminal: seconds
	$(python) manage.py demo $(ARGS)

# With CI=true a Redis that is not installed is an error, and not a test to skip.
demo-rq: $(demo) ## The same with Redis, two workers and a clock; kill -9 one worker: seconds
	@CI=true $(python) -m tests.servers.redis_server sh -c \
		'EXAMPLE_REDIS="$$WORKFLOW_TEST_FILES-redis.sock" exec $(python) manage.py demo_rq $(ARGS)'

serve: $(demo) ## Serve the example project at http://127.0.0.1:8000
	$(python) manage.py prepare
	$(python) manage.py runserver 127.0.0.1:8000 $(ARGS)

test: $(dev) ## Test on SQLite, PostgreSQL and in a browser: some 12 minutes; ARGS="-k name": seconds
	@$(python) -m tests $(ARGS)

test-all: $(dev) ## The long form: every Django, many repetitions: hours; ARGS="NAME…": a part
	@$(python) -m tests --all $(ARGS)

lint: $(dev) ## Check style, format and types: a minute
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

bench: $(dev) ## Measure steps and starts per second: an hour
	$(python) -m tests.benchmarks $(ARGS)

ifneq ($(found),$(or $(wanted),none))
.PHONY: $(demo) $(dev)
anew := --clear
endif

$(demo) $(dev): .venv/installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(anew) .venv
	$(python) -m pip install --quiet --upgrade pip
	$(python) -m pip install --quiet --editable . --group $*
	@touch $@ $(demo)  # all tools include those of the demo
