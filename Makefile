# Two commands matter: `make demo` and `make test`. Both set everything up from a fresh clone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
WHEEL_SOURCES := $(shell git ls-files -co --exclude-standard -- '*.py' '*.sql' '*.pyi' 'pyproject.toml' 'README.md' 'LICENSE' ':!tests' ':!bench')
export TSS_VECTORS ?= $(abspath ../shared/vectors)

.PHONY: test test-full demo lint stubs clean lock

# The suite on the installed wheel.
test: $(VENV)/.installed
	$(BIN)/pytest --installed -q $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

stubs: $(VENV)/.dev
	tools/generate_stubs.sh

lock:
	uv pip compile pyproject.toml --extra demo --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --exclude-newer P7D -o requirements/run.txt
	uv pip compile pyproject.toml --extra demo --group dev --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --exclude-newer P7D -o requirements/dev.txt

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11 to 3.13 is needed"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.dev: requirements/dev.txt | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/.installed: $(VENV)/.dev $(WHEEL_SOURCES)
	rm -rf $(VENV)/wheel
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(VENV)/wheel .
	$(PIP) install --no-deps --force-reinstall $(VENV)/wheel/*.whl
	touch $@

clean:
	rm -rf $(VENV)
