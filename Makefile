# Needs Python 3.10 or newer with venv and pip, and a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUALITY := recipes/TIMIT/quality
RUN := $(QUALITY)/results/qnet-builtin/1234

.PHONY: demo test page fresh stress fuzz kill coverage quality-net tables table3 bench lint typecheck docs clean

# Install the tested versions, again if they or the requirements have changed.
$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	@command -v cc >/dev/null || command -v gcc >/dev/null || { echo "pesq is built from C source." \
		"Install a C compiler and Python's headers (Debian: build-essential python3-dev)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# Train Quality-Net on the built-in synthetic corpus, then score a few recordings with the model just trained.
demo: $(VENV)/installed
	cd $(QUALITY) && $(CURDIR)/$(BIN)/python train.py hparams/qnet.yaml
	$(BIN)/speechtools score $(RUN)/examples --model $(RUN)/pretrained --csv $(RUN)/scores.csv --png $(RUN)/examples
	@cat $(RUN)/scores.csv
	@echo; echo "report:  $(RUN)/results.json"; echo "plots:   $(RUN)/figures and $(RUN)/examples"
	@echo "model:   $(RUN)/pretrained, as in: $(BIN)/speechtools score your.wav --model $(RUN)/pretrained"

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 3 --dist worksteal

# Test the page in a browser. Skipped where there is no Chromium.
page: $(VENV)/installed
	$(BIN)/python -m pytest -m slow tests/web

# Install the wheel into a new environment with the newest versions that setup.cfg allows.
# TORCH="torch<2.11" selects the newest of the older pairs of torch and torchaudio.
TORCH ?= torch
fresh: export PIP_CONSTRAINT = /dev/null
fresh:
	rm -rf build && $(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip wheel --quiet --no-deps --wheel-dir build .
	build/fresh/bin/python -m pip install --quiet "$(TORCH)" "$$(ls build/*.whl)[recipes]"
	cd build && fresh/bin/python -c "import torch, torchaudio, speechtools.training, speechtools.inference as i; \
		print(f'torch {torch.__version__} with torchaudio {torchaudio.__version__}:', i.__file__)"
	cd build && fresh/bin/speechtools score --sample
	rm -rf build

# Run the slow tests; repeat the tests of several processes, with free and with busy cores; then run all tests in random order.
stress: $(VENV)/installed
	$(BIN)/python -m pytest -m slow
	$(BIN)/python tests/stress.py --repeats 40 tests/speaker/test_gathering.py
	$(BIN)/python tests/stress.py --repeats 40 --busy 2 tests/speaker/test_gathering.py
	$(BIN)/python tests/stress.py --repeats 15
	$(BIN)/python tests/stress.py --repeats 15 --busy 2
	$(BIN)/python tests/stress.py --repeats 5 -o addopts=--doctest-modules -n auto --maxprocesses 4

# Load 100,000 damaged files; CASES changes the number, FUZZ='--kinds recordings' the kinds.
CASES ?= 100000
fuzz: $(VENV)/installed
	$(BIN)/python tests/fuzz.py --cases $(CASES) $(FUZZ)

# End score, enhance, embed and enroll at random moments, and start them again.
kill: $(VENV)/installed
	$(BIN)/python tests/kill.py --repeats 10

# Fails below the coverage that pyproject.toml requires.
coverage: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --cov

# Reproduce every table and figure of the Quality-Net paper on the built-in corpus.
quality-net: $(VENV)/installed
	cd $(QUALITY) && $(CURDIR)/$(BIN)/python reproduce.py --quick

# Reproduce tables 1 and 2 of the GE2E paper on the built-in keywords.
tables: $(VENV)/installed
	cd recipes/keyword/GE2E && $(CURDIR)/$(BIN)/python reproduce.py

# Reproduce table 3 of the GE2E paper on the built-in corpus.
table3: $(VENV)/installed
	cd recipes/TI-SV/GE2E && $(CURDIR)/$(BIN)/python reproduce.py

# The last benchmark writes 6 GB to the temporary folder and takes six minutes; --folder changes the place.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/dask_labels.py
	$(BIN)/python benchmarks/enhancement.py
	$(BIN)/python benchmarks/ge2e_loss.py
	$(BIN)/python benchmarks/speaker_batches.py
	$(BIN)/python benchmarks/speaker.py
	$(BIN)/python benchmarks/multireader.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint --strict .
	$(BIN)/codespell
	$(BIN)/lint-imports

typecheck: $(VENV)/installed
	$(BIN)/mypy

# Build the site; warnings are errors, and no page may show an object's address or path.
docs: $(VENV)/installed
	$(BIN)/sphinx-build -W --keep-going --quiet docs docs/_build/html
	! grep -rlE 'PosixPath\(|&lt;function |object at 0x' --include='*.html' docs/_build/html
	@echo "the documentation: docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build docs/_build docs/contracts.md docs/checkout *.egg-info
