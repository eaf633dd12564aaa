# Two commands for everybody: `make train` and `make test`. PYTHON picks the interpreter, CPU=1 the small CPU build of torch.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MYPY ?= $(BIN)/mypy
PIP_FLAGS := $(if $(CPU),--extra-index-url https://download.pytorch.org/whl/cpu)
STAMP := $(VENV)/.installed

# What of the CPU oneDNN and torch's own kernels use: AVX2 alone, so no AVX512 and no bf16 arithmetic.
AVX2 := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2

.PHONY: train test test-avx2 test-slow test-gpu coverage docs lint format env clean help
help:  ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

train: $(STAMP)  ## make the environment and the demo data, and train the demo on whatever device there is
	$(BIN)/python tools/datasets/make_demo.py nuscenes
	$(BIN)/python tools/train.py configs/demo/lss_swin_nuscenes.py --overwrite

test: $(STAMP)  ## run the tests (slow and GPU ones excluded), as many at once as there are cores, up to 4
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-avx2: $(STAMP)  ## run the tests as on a CPU with AVX2 alone, on a machine that has more
	$(AVX2) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: $(STAMP)  ## run the slow tests: minutes each
	$(BIN)/python -m pytest -m 'slow and not gpu'

test-gpu: $(STAMP)  ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

coverage: $(STAMP)  ## run the tests and report which lines they reach, on the terminal and in htmlcov/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
		--cov --cov-report=term --cov-report=html

lint: $(STAMP)  ## style, docstrings, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/dev/check_docstrings.py mmopt tools
	$(BIN)/lint-imports
	$(MYPY) --python-executable $(BIN)/python

docs: $(STAMP)  ## build the docs as a site into site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env: $(STAMP)  ## make .venv with the tested versions
$(STAMP): setup.py pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c requirements/constraints.txt -e '.[all,dev]'
	@touch $@

clean:  ## remove the environment and caches
	rm -rf $(VENV) site .pytest_cache .ruff_cache .mypy_cache .hypothesis htmlcov .coverage .coverage.* *.egg-info
