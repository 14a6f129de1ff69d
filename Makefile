# `make demo` and `make test` do all set-up themselves, in an environment of their own (.venv).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0

.PHONY: demo test test-all docs fuzz lint types setup clean

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/shotstream generate examples/fox.yaml -o demo.mp4 --overwrite

# The quick tests; `make test-all` adds the slow ones, those in a browser, and those that train.
test: $(READY)
	$(BIN)/python -m pytest -rs -n auto -m "not slow and not browser and not train"

# One worker more than cores: tests of pages and servers wait for what they watch.
test-all: $(READY)
	$(BIN)/python -m pytest -rs -n $$($(BIN)/python -c "import os; print(1 + os.cpu_count())")

# The documentation, as pages that open from the disk; builds without a network.
docs: $(READY)
	$(BIN)/mkdocs build --quiet

# 2,000 mutated files for every reader of files that people bring.
fuzz: $(READY)
	FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest -rs tests/fuzz

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo.mp4 demo.shots site
