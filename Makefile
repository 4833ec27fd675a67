# `make new` creates a project; the other targets are for work on the template. It needs Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
COOKIECUTTER := .venv/.cookiecutter
SOURCE := hooks tests benchmarks scripts
# Set here, so that environment variables with these names have no effect.
AGAINST =
PRESET =
NAME =
OUT =
# Tests of the template's source, and of the default project and the smallest one: render, format, lint, types, documents.
QUICK := $(patsubst %,tests/test_%.py,source language docs trees renders documents) \
	-k "(source or language or docs or default or minimal) and not ordinary_code"
unexport PIP_PREFIX PIP_TARGET PIP_USER

.DEFAULT_GOAL := help
.PHONY: help setup new test test-quick check format bench bench-check screenshots

##@ Create a project

new: $(COOKIECUTTER) ## create a project beside this folder; skip questions: PRESET=public-web NAME='Blue Shop' OUT=..
	@$(BIN)/python scripts/new_project.py $(ARGS)

##@ Work on the template

setup: $(READY) ## build .venv with pinned and hashed packages

test-quick: $(READY) ## test the source, the default project and the smallest one, in less than a minute
	$(BIN)/pytest $(QUICK) $(ARGS)

test: $(READY) ## test every pair of answers, in up to 45 minutes; ARGS="-k default" selects tests
	@echo "All tests take up to 45 minutes. For a quick check: make test-quick"
	$(BIN)/pytest $(ARGS)

check: $(READY) ## check format, lint and types of the template's own code
	$(BIN)/ruff format --check $(SOURCE)
	$(BIN)/ruff check $(SOURCE)
	$(BIN)/mypy $(SOURCE)

format: $(READY) ## format the template's own code and fix what ruff can fix
	@$(BIN)/ruff check --fix-only $(SOURCE); $(BIN)/ruff format $(SOURCE); $(BIN)/ruff check $(SOURCE)

##@ Measure

bench: $(READY) ## measure a project beside bare Flask, write docs/performance.md; longer: ARGS=--long; or print ratios: AGAINST=v0.2.0
	$(BIN)/python -m $(if $(AGAINST),benchmarks.against "$(AGAINST)",benchmarks) $(ARGS)

bench-check: $(READY) ## compare what a request, the import and a render cost with benchmarks/baseline.json; UPDATE=1 replaces it
	$(BIN)/python -m benchmarks.bench_check

##@ Document

screenshots: $(READY) ## create the images of the documentation; needs Chromium
	$(BIN)/python scripts/screenshots.py

##@ Help

help: ## list these targets
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The requirements files are complete, so pip resolves nothing. Installing pip into .venv takes longer than everything else, so .venv has
# its own pip only if Python has none, or one that is too old for another Python in .venv. `make new` compiles only the modules that it
# imports. Tests start hundreds of programs of .venv that write no bytecode: without compiled modules each takes a second.
has_pip = "$(PYTHON)" -c 'import pip, sys; sys.exit([*map(int, pip.__version__.split(".")[:2])] < [23, 2])' 2>/dev/null
install = if [ ! -x $(BIN)/pip ] && $(has_pip); then "$(PYTHON)" -m pip --python $(BIN)/python "$$@"; else \
	[ -x $(BIN)/pip ] || $(BIN)/python -m ensurepip >/dev/null; $(BIN)/python -m pip "$$@"; fi
define INSTALL
@set -- install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r $<; $(install)
@touch $@
endef

$(COOKIECUTTER): requirements-new.txt requirements.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "Python 3.11 or newer is needed: install it, or pass its path: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": pass another one: make PYTHON=/path/to/python")'
	@echo "Setting up .venv, once ..."
	@if $(has_pip); then set -- --without-pip; fi; "$(PYTHON)" -m venv --clear "$$@" .venv || \
		{ echo "Python cannot create virtual environments: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	$(INSTALL)

$(READY): requirements.txt $(COOKIECUTTER)
	$(INSTALL)
	@$(BIN)/python -m compileall -q -j 0 .venv/lib
