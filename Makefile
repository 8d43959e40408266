# Two commands for a fresh machine: `make bench` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := gguf gptq torchao
# Two tests at once, a file's one after the other; those that measure get the machine for themselves (tests/turns.py).
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup environments bench test test-all lint benchmarks calibration faults docs schema ngram embedded clean

help:
	@echo "make bench       set up, run suites/quick.yaml, show the table, write reports/quick/"
	@echo "make test        set up, run the tests (10 minutes on 2 cores, once set up)"
	@echo "make test-all    the same with the slow cases"
	@echo "make environments  set up the environments that the tests need"
	@echo "make lint        ruff, mypy, import-linter"
	@echo "make benchmarks  speed of the harness itself (pytest-benchmark)"
	@echo "make calibration  how often alarms are wrong, and how soon they are right (docs/calibration.md)"
	@echo "make faults      kill, starve and confuse real sweeps, and count what held (docs/faults.md, 40 minutes)"
	@echo "make docs        write docs/techniques and the tables of docs/metrics.md from the code, the claims and the records"
	@echo "make embedded    train the embedded model again (half an hour) and put it into the package"
	@echo "make ngram       recompute the n-gram reference of the embedded data"

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q torch==2.13.0
	$(BIN)/pip install -q -e '.[dev]'
	touch $(STAMP)

bench: setup
	$(BIN)/harness run suites/quick.yaml

test: setup environments
	$(BIN)/python -m pytest $(BESIDE) -m "not slow"

test-all: setup
	$(BIN)/harness env sync all
	$(BIN)/python -m pytest $(BESIDE)

# Packages that cannot live with the others, for the techniques that `make test` tries (llama.cpp compiles for minutes,
# once: the wheel stays in the user's cache). Where one cannot be made, for want of a compiler say, its tests are skipped
# with that reason and the others run.
environments: setup
	-for name in $(TESTED); do $(BIN)/harness env sync $$name; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmarks: setup
	$(BIN)/python -m pytest tests/benchmarks --benchmark-columns=min,median,max,rounds

# Otava pins an older numpy, which its analysis does not need: it is installed without what it asks for.
calibration: setup
	$(BIN)/pip install -q ruptures==1.1.10
	$(BIN)/pip install -q --no-deps apache-otava==0.8.0
	$(BIN)/python scripts/calibration.py

faults: setup
	$(BIN)/python scripts/faults.py

docs: setup
	$(BIN)/python scripts/technique_pages.py
	$(BIN)/python scripts/metric_tables.py

schema: setup
	$(BIN)/python -c "from harness.plan.suite import to_schema; print(to_schema(), end='')" > suites/suite.schema.json

ngram: setup
	$(BIN)/python scripts/ngram_baseline.py

embedded: setup
	$(BIN)/harness run suites/embedded_model.yaml
	$(BIN)/python scripts/embed_model.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
