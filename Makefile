# Everything that CI runs, by the same names. `make` alone lists the targets.

# The first Python that runs and that the Airflows of the sandbox can be installed for.
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for name in python3.12 python3.11 python3 python; do \
	$$name -c '$(SUITABLE)' >/dev/null 2>&1 && { echo $$name; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed
TOOLS := $(VENV)/.tools
IMAGE ?= dms-airflow
LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(LOCK_OPTIONS)
LOCKED = --require-hashes --no-deps --quiet --disable-pip-version-check
AIRFLOWS := 2.10.4 3.2.2
SANDBOX_AIRFLOW ?= 2.10.4
# Most of an end-to-end test is waiting: more processes than cores.
E2E_PROCESSES ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup tools sandbox demo check test lint audit types unit contract integration e2e container bench image docs picture lock clean

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(SETUP): requirements-build.txt requirements-dev.txt
	@command -v git >/dev/null || { echo "git is needed (Debian and Ubuntu: apt-get install git)."; exit 1; }
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(SUITABLE)'; then \
		echo "Python 3.11 or 3.12 is needed: the sandbox runs Airflow 2.10.4, which no later Python can."; \
		echo "Install one (Debian: apt-get install python3.11 python3.11-venv;"; \
		echo "anywhere: pyenv install 3.12, or uv python install 3.12), then run: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; \
		exit 1; fi
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): about a minute, once; downloads 80 MB, takes 340 MB."
	@$(PYTHON) -I scripts/install.py $(VENV) requirements-build.txt requirements-dev.txt
	@touch $@

$(TOOLS): $(SETUP) requirements-tools.txt
	@$(BIN)/python -m pip install $(LOCKED) -r requirements-tools.txt
	@touch $@

setup: $(SETUP) ## Make .venv with what tests and lint need (a minute, once; downloads 80 MB, takes 340 MB)

sandbox: $(SETUP) ## Install the sandbox's Airflow into .sandbox: 2.10.4, or SANDBOX_AIRFLOW=3.2.2 (one to two minutes, once; downloads 55 MB, takes 280 MB)
	@$(BIN)/python -m sandbox install

demo: sandbox ## See the action at work: a broken deploy taken back, then a repaired one that stays (two minutes at first, then one or two)
	@$(BIN)/python -m sandbox.demo

check: lint types ## Run what to run before each commit: lint, types, unit, contract and one path through each operation (half a minute)
	$(BIN)/pytest -q -n auto tests/unit tests/contract
	$(BIN)/pytest -q -n auto -m check tests/integration

test: lint types unit contract integration e2e-$(SANDBOX_AIRFLOW) ## Run lint, types and all tests but the container's, with one real Airflow (`make e2e`: both)

lint: $(SETUP) ## Lint the code, the pages and their spelling, the workflows and the Dockerfile, and check the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/rumdl check --quiet --no-cache .
	$(BIN)/codespell .
	$(BIN)/zizmor --offline --no-progress --quiet .github action.yml
	$(BIN)/hadolint --config .hadolint.yaml Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml examples/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

audit: $(SETUP) ## Look for known weaknesses of what ships (needs the network)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r requirements-build.txt

types: $(SETUP) ## Check the types
	$(BIN)/mypy

unit: $(SETUP) ## Pure functions, on real answers and on generated ones
	$(BIN)/pytest -n auto tests/unit --cov --cov-report=term

contract: $(SETUP) ## action.yml == code, docs == generated, imports point down
	$(BIN)/pytest tests/contract

integration: $(SETUP) ## The whole action as a process, against a scripted DMS
	$(BIN)/pytest -n 4 tests/integration

e2e: $(addprefix sandbox-,$(AIRFLOWS)) ## The whole action against a real Airflow 2.10.4 and 3.2.2, side by side (e2e-3.2.2: only that one)
	@$(MAKE) --no-print-directory -j2 E2E_PROCESSES=2 $(addprefix e2e-,$(AIRFLOWS))

sandbox-%: $(SETUP)
	@SANDBOX_AIRFLOW=$* $(BIN)/python -m sandbox install

e2e-%: sandbox-%
	SANDBOX_AIRFLOW=$* $(BIN)/pytest -q -n $(E2E_PROCESSES) --dist loadfile --no-loadscope-reorder tests/e2e

container: $(TOOLS) ## The image under act and under a stand-in of GitHub's runner (needs Docker; LAB is the folder of their scripts)
	PATH="$(abspath $(BIN)):$$PATH" LAB="$(LAB)" $(BIN)/pytest -n 2 --dist loadfile tests/container

bench: $(SETUP) ## Measure the action against what a user would do instead (a few minutes; docs/development/performance.md)
	$(BIN)/python -m benchmarks

image: ## Build the image
	docker build -t $(IMAGE) .

docs: $(SETUP) ## Write the generated parts of the documentation
	$(BIN)/python scripts/document.py

picture: sandbox ## Make the pictures in README from real runs (needs Chromium and npm)
	$(BIN)/python scripts/picture.py

tools: $(TOOLS) ## Add act and uv to .venv, which only `make lock` and tests of workflows need (downloads 25 MB)

lock: $(TOOLS) ## Lock the requirements again, with hashes (LOCK_OPTIONS=--upgrade takes newer versions)
	$(LOCK) --excludes requirements-excludes.txt requirements.in -o requirements.txt
	$(LOCK) requirements-build.in -o requirements-build.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) requirements-tools.in -o requirements-tools.txt
	@sed -i '1i # Written by `make lock`. To run the action outside of its image, make a virtual environment of it:\n#     python3 scripts/install.py FOLDER requirements-build.txt requirements.txt\n# pip refuses it without --no-deps, since it lacks what nothing of ours imports: requirements-excludes.txt' requirements.txt

clean: ## Remove what was installed and generated
	rm -rf $(VENV) .sandbox .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache demo-report
