# Everything a newcomer needs: setup, check, test, demo, bench. CI calls the same targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_DATA := data/demo
DEMO_RUNS := demo_runs

.PHONY: setup check test sanitize rehearse bench demo
.DELETE_ON_ERROR:

setup: $(VENV)/.installed

# torch first, on its own: csrc/ is compiled against the torch of this environment (--no-build-isolation).
$(VENV)/.installed: pyproject.toml setup.py $(wildcard csrc/*.cpp csrc/*.h csrc/*/*.cpp csrc/*/*.h csrc/*/*.cu)
	$(PYTHON) -c 'import sys; sys.exit("videosoft needs Python 3.10 or newer, this is " + sys.version if sys.version_info < (3, 10) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77" wheel ninja
	$(BIN)/python -m pip install "torch>=2.10" torchvision
	$(BIN)/python -m pip install --no-build-isolation --editable ".[dev]"
	$(BIN)/python -c 'from videosoft.ops import describe_backends as d; [print(k, v) for k, v in d().items()]'
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'tests/*.h')
	$(BIN)/lint-imports

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest
	$(MAKE) --no-print-directory sanitize
	$(MAKE) --no-print-directory rehearse

# The operator's tests alone, on kernels that stop at the first read or write out of bounds.
sanitize: setup
	bash tests/sanitizers/sanitize.sh $(BIN)/python

# The operator's tests on the CUDA kernels, compiled for the host: no GPU is needed.
rehearse: setup
	bash tests/cuda_rehearsal/rehearse.sh $(BIN)/python

# On an idle machine only: whatever else runs is measured too.
bench: setup
	$(BIN)/python benchmarks/bench_softpool.py --force
	$(BIN)/python benchmarks/render_softpool.py

demo: setup
	PATH="$(abspath $(BIN)):$$PATH" bash tools/demo.sh $(DEMO_DATA) $(DEMO_RUNS)
