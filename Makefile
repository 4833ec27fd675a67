# `make new` makes a project; the rest is for work on the template. Python 3.11 or newer is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SOURCE := hooks tests benchmarks presets
# Of the environment they would mean something else.
PRESET =
NAME =
OUT =

.DEFAULT_GOAL := help
.PHONY: help setup new test check format bench alarm

help: ## list these verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(READY) ## build .venv, with everything pinned and hashed

new: $(READY) ## make a project, and ask; PRESET=public-web NAME='Blue Shop' OUT=.. asks nothing; cookiecutter's own in ARGS
	@answers=$$($(BIN)/python presets/check.py "$$PRESET") && $(BIN)/cookiecutter . \
		$${answers:+--no-input --config-file "$$answers"} $${OUT:+--output-dir "$$OUT"} $${NAME:+project_name="$$NAME"} $(ARGS)

test: $(READY) ## prove every combination of answers: ARGS="-k default" picks some tests
	$(BIN)/pytest $(ARGS)

check: $(READY) ## format, lint and types of the template's own code
	$(BIN)/ruff format --check $(SOURCE)
	$(BIN)/ruff check $(SOURCE)
	$(BIN)/mypy $(SOURCE)

format: $(READY) ## format the template's own code, and mend what ruff can
	$(BIN)/ruff check --fix $(SOURCE)
	$(BIN)/ruff format $(SOURCE)

bench: $(READY) ## measure, and write docs/performance.md; longer and more: ARGS=--long
	$(BIN)/python -m benchmarks $(ARGS)

alarm: $(READY) ## count the instructions of a request, and compare them with those of before; UPDATE=1 takes them over
	$(BIN)/python -m benchmarks.alarm

$(READY): requirements.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": name another one with make PYTHON=/path/to/python")'
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "Python cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv, once ..."
	@"$(PYTHON)" -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@
