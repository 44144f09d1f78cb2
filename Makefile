# Everything one needs day to day. Wants Python 3.11 to 3.14 and make; the rest sets itself up in .venv.

.DEFAULT_GOAL := help
.PHONY: help run platform test check format bench docs picture screenshots clean

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$python >/dev/null 2>&1 && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/ready
CODE := settings store broker transfer web emulator local bench tests

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1  /p' $(MAKEFILE_LIST) | awk '{name = $$1; $$1 = ""; printf "  make %-12s%s\n", name, $$0}'

run: $(READY) ## run the application here, with a store and a demo fleet
	@exec $(BIN)/python -m local

platform: $(READY) ## as run, with three brokers behind an emulated TCP Gateway, deployed every minute
	@exec $(BIN)/python -m local platform

test: $(READY) ## run all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY) ## check format, lint, types and import directions
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## put the code into its format
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

bench: $(READY) ## measure the broker on this machine
	@$(BIN)/python -m bench

docs: $(READY) ## write docs/settings.md and docs/conformance.md from settings and tests
	@$(BIN)/python -m local.settings_page
	@$(BIN)/python tests/conformance/conformance_page.py

picture: $(READY) ## take the README's picture of the dashboard (needs Chromium)
	@$(BIN)/python -m local.screenshot

screenshots: $(READY) ## take pictures of all pages into .data/screenshots.png (needs Chromium)
	@$(BIN)/python -m local.screenshots

clean: ## delete .venv and caches; local data and passwords in .data stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "No python3 found: install Python 3.11 or later."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1): Python 3.11 to 3.14 is needed. Install one, or name it: make PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo "No virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing into .venv (only when requirements change) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -r requirements-dev.txt
	@touch $@
