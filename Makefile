# Everything runs in .venv, which is made on first use. PYTHON chooses the interpreter.
# test-oldest has .venv-oldest, with the lowest versions that pyproject.toml allows.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLDEST := .venv-oldest
# One worker for each of two cores, with one thread each, so that torch does not
# compete with itself.
WORKERS := -n 2 --dist worksteal
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest $(WORKERS)

BENCHMARKS := search throughput end_to_end store scale startup decode \
	throughput_pocket blas_threads finetune_speed transfer_digits
ifdef SKTL_TEST_DATA
BENCHMARKS += transfer_pocket imagenet_samples throughput_lite frozen_features frozen_views finetune_accuracy \
	finetune_peers study_head few_labels
endif

.PHONY: demo test test-fast test-oldest coverage lint format docs docs-check bench clean

demo: $(STAMP)
	$(BIN)/sktl demo digits
	$(BIN)/sktl demo shapes

test: $(STAMP)
	$(PYTEST)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow"

test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/pytest $(WORKERS) -m "not slow"

coverage: $(STAMP)
	$(PYTEST) --cov --cov-report=term --cov-report=html

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

docs-check: docs
	$(BIN)/python docs/check_site.py docs/_build/html

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) $(OLDEST)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

$(OLDEST)/.installed: pyproject.toml tests/oldest.txt
	test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c tests/oldest.txt -e ".[test]"
	touch $@
