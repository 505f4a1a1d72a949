# GNU make 3.81 (macOS) or newer; the path of the repository may contain spaces, so every name below is relative.
# ARGS is passed on:  make run ARGS="--port 9000 --data DIR"

PYTHON_IN_VENV := .venv/bin/python
ARGS ?=
SEEDS ?= 50
RUNS ?= 20
WAYS ?=
LANES ?= 1
SEED ?=

# A repository that was moved, or whose interpreter has gone, is set up again.
HOME_OF_VENV := $(shell [ -x $(PYTHON_IN_VENV) ] && cat .venv/ready-run .venv/ready-dev 2>/dev/null | sort -u)
ifneq ($(HOME_OF_VENV),$(CURDIR))
STALE := stale
endif

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: .venv/ready-run ## set up, then hub and daemon in one terminal (ARGS="--port 9000")
	@exec $(PYTHON_IN_VENV) -P -m understudy up --data ./var $(ARGS)

setup: .venv/ready-dev ## set up .venv for development

test: .venv/ready-dev ## set up, then everything that `make check` does
	@$(PYTHON_IN_VENV) tests/check.py $(ARGS)

check: ## format, lint, types, floors, docs, tests (ARGS="lint types" for some)
	@[ -x $(PYTHON_IN_VENV) ] || { echo "no .venv yet: make setup" >&2; exit 1; }
	@$(PYTHON_IN_VENV) tests/check.py $(ARGS)

docs: .venv/ready-dev ## write the generated parts of the documentation anew
	@$(PYTHON_IN_VENV) tests/check.py --write-docs

test-cli: .venv/ready-dev ## the real claude and codex from npm (650 MB in ./var) against a fake of their services
	@exec $(PYTHON_IN_VENV) -m pytest tests/cli_real -m real_cli -rs $(ARGS)

test-worker: .venv/ready-dev ## the hub inside a real workerd from npm (175 MB in the user's cache)
	@exec $(PYTHON_IN_VENV) -m pytest tests/cloudflare -n 3 --dist worksteal -m 'real_worker or not real_worker' -rs -o faulthandler_timeout=900 $(ARGS)

soak: .venv/ready-dev ## the tests that run long or measure wall-clock time
	@TESTS_TIMED=1 exec $(PYTHON_IN_VENV) -m pytest tests -m soak -o faulthandler_timeout=3600 --hypothesis-profile=soak $(ARGS)

repeat: .venv/ready-dev ## the suite RUNS=20 times: beside load, as an ordinary user, in a path with spaces, … (WAYS="load user" LANES=2)
	@exec $(PYTHON_IN_VENV) tests/repeat.py --runs $(RUNS) --lanes $(LANES) $(if $(WAYS),--ways $(WAYS)) $(ARGS)

screenshots: .venv/ready-dev ## the pictures of the READMEs anew, in docs/pictures (ARGS="--all DIR": every page, to look at)
	@exec $(PYTHON_IN_VENV) -m tests.browser.pictures $(ARGS)

bench: .venv/ready-dev ## the table of speeds beside a bare ASGI application
	@exec $(PYTHON_IN_VENV) bench/run.py $(ARGS)

sim: .venv/ready-run ## simulate: SEEDS=1000 worlds, or replay one by SEED=n
	@exec $(PYTHON_IN_VENV) -P -m understudy verify $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

clean: ## remove .venv and what the tools left behind (not ./var: your data)
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .grimp_cache .hypothesis
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.venv/ready-run: pyproject.toml constraints.txt $(STALE)
	@tools/set-up run

.venv/ready-dev: pyproject.toml constraints.txt $(STALE)
	@tools/set-up dev

stale:

.PHONY: help run setup test check docs test-cli test-worker soak repeat screenshots bench sim clean stale
