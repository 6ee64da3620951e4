# Two commands do everything on a fresh machine with Python 3.11+, make and git: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check servers dagster bench picture lock clean

demo: $(VENV)/.installed
	$(BIN)/apportion demo

# Where an environment forbids bytecode, each process that a test starts would compile the project anew.
test: check servers
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist loadfile

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Servers that the tests start, each in an environment of its own. One that can't be had here is told and its tests are skipped.
servers: $(VENV)/.installed
	$(BIN)/python -m tests.integration.servers.install

dagster: $(VENV)/.installed
	$(BIN)/python -m pipelines.orchestration.user_interface

# Well over ten minutes on two quiet cores; `make bench BENCH="--lines 100000 --parts cur,gcp"` takes less, --help tells.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(BENCH)

# The picture in README.md.
picture: $(VENV)/.installed
	$(BIN)/apportion demo | $(BIN)/python -m examples.picture docs/demo.svg

# Hashed requirements without registry addresses, so that any mirror serves them.
lock: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --no-strip-extras --extra development --python-version 3.11 \
		pyproject.toml requirements.build.in --output-file requirements.lock
	cd tests/integration/servers && ../../../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 bqemulator.in --output-file bqemulator.lock
	cd tests/integration/servers && ../../../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links --python-version 3.12 focus_validator.in \
		--output-file focus_validator.lock
	cd tests/integration/servers && ../../../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-deps --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 focus_questions.in \
		--output-file focus_questions.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --python-version 3.11 requirements.focus-converter.in --output-file requirements.focus-converter.lock

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf lake demo-data .bench
