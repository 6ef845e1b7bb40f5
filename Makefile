# Two commands matter: `make demo` and `make test`. Both set everything up from a fresh clone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
WHEEL_SOURCES := $(shell git ls-files -co --exclude-standard -- '*.py' '*.sql' '*.pyi' 'pyproject.toml' 'README.md' 'LICENSE' ':!tests' ':!bench')
export TSS_VECTORS ?= $(abspath ../shared/vectors)

# Without daemons and gateway.
PROTOCOL_TESTS := tests/tss tests/zk tests/tss_engine tests/cggmp24 tests/frost tests/judge

.PHONY: test demo lint stubs docs clean lock crash-points bench timing mutants coverage simulate fuzz full-size oversized chaos

# The suite on the installed wheel: a process a core, and one more, for many tests wait for daemons.
PROCESSES ?= $(shell echo $$(($$(nproc) + 1)))
test: $(VENV)/.installed
	$(BIN)/pytest --installed -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# A key made by three sign-services, and every pair of them signing with it.
demo: $(VENV)/.run
	$(BIN)/python tools/demo.py --with-parent

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Committees in virtual time, faults and cheaters among them: COUNT sessions, or the life of one SEED with its trace.
COUNT ?= 100000
simulate: $(VENV)/.installed
	$(BIN)/python tests/simulation/run.py $(if $(SEED),--seed $(SEED) --trace,--count $(COUNT))

# Every decoder, and sessions in every phase, under atheris: COUNT inputs, or for TIME seconds; TARGETS="psbt sse" chooses.
fuzz: $(VENV)/.fuzz
	$(BIN)/python tests/fuzz/fuzz_run.py $(if $(TIME),--seconds $(TIME),--count $(COUNT)) $(TARGETS:%=--target %)

# A crash after every system call, and every state of the disk after a power failure; `make test` tries some of them.
crash-points: $(VENV)/.installed
	WALLET_MPC_CRASH_STRIDE=1 $(BIN)/pytest --installed -q -s tests/crash

# Every lie through real daemons at full parameters: the cheater is found, by everybody. Minutes.
full-size: $(VENV)/.installed
	$(BIN)/pytest --installed -q --durations=0 tests/integration/full_size_hostile.py

# Every fault of docs/reliability.md at ROUNDS times the size of `make test`, and whatever happens in any order: about 2 minutes a round.
ROUNDS ?= 20
CHAOS := hostile_gateway cut_off node_faults floods gateway_lost servers_lost kill_in_ceremonies kill_in_refresh kill_in_reshare kill_in_recovery kill_in_signing
chaos: $(VENV)/.installed
	WALLET_MPC_CHAOS=$(ROUNDS) $(BIN)/pytest --installed -q -rP --durations=0 tests/integration/chaos.py $(CHAOS:%=tests/integration/test_%.py)

# The figures of docs/performance.md, half an hour of a quiet machine; NAMES="presign_2_busy aux_2of3" chooses.
bench: $(VENV)/.installed
	$(BIN)/python -m bench $(NAMES)

# How long refusing a number of a megabyte takes, in the place of every integer of every message.
oversized: $(VENV)/.installed
	$(BIN)/python bench/oversized.py

# Mutants of everything that checks or decodes; MODULES="tss/zk tss/vss.py" chooses among them. Hours; `make test` tries some.
mutants: $(VENV)/.dev
	PYTHONPATH=tools $(BIN)/python -m mutation $(MODULES)

# Branches of the protocols that no test of theirs takes.
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	PYTHONPATH=. $(BIN)/coverage run -m pytest -q -n $(PROCESSES) -m 'not full_size' $(PROTOCOL_TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Whether secrets show in the time of operations with them: half an hour of a quiet core.
timing: $(VENV)/.installed
	$(BIN)/python bench/timing.py

# The tables of docs/configuration.md.
docs: $(VENV)/.installed
	$(BIN)/python tools/configuration_reference.py

stubs: $(VENV)/.dev
	tools/generate_stubs.sh

COMPILE := uv pip compile --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --exclude-newer P7D
# run and dev are for working trees; service, gateway and build are what the images install, in the same versions.
lock:
	$(COMPILE) pyproject.toml --extra demo -o requirements/run.txt
	$(COMPILE) --no-strip-markers pyproject.toml --extra demo --group dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml -c requirements/run.txt -o requirements/service.txt
	$(COMPILE) requirements/gateway.in -c requirements/run.txt -o requirements/gateway.txt
	$(COMPILE) requirements/tracing.in -c requirements/dev.txt -o requirements/tracing.txt
	$(COMPILE) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) requirements/fuzz.in -c requirements/dev.txt -o requirements/fuzz.txt

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11 to 3.13 is needed"'
	$(PYTHON) -m venv $(VENV)

# What is run and the libraries that judge the demo: a working tree that was set up for tests has it all already.
$(VENV)/.run: requirements/run.txt | $(BIN)/python
	test -e $(VENV)/.dev || $(PIP) install --require-hashes -r requirements/run.txt
	touch $@

$(VENV)/.dev: requirements/dev.txt | $(BIN)/python
	$(PIP) install --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/.fuzz: requirements/fuzz.txt $(VENV)/.installed
	$(PIP) install --require-hashes -r requirements/fuzz.txt
	touch $@

$(VENV)/.installed: $(VENV)/.dev $(WHEEL_SOURCES)
	rm -rf $(VENV)/wheel
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(VENV)/wheel .
	$(PIP) install --no-deps --force-reinstall $(VENV)/wheel/*.whl
	touch $@

clean:
	rm -rf $(VENV)
