# Two commands do everything: `make study` and `make test`. Both install on first use.
PYTHON ?= python3
STUDY ?= studies/digits.toml
ARGS ?=
BASELINE ?=
VICO ?=
SMALL ?=
BIN := .venv/bin
STAMP := .venv/.moc-installed
EXTRAS := .venv/.moc-extras

export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: study test ui check slow newcomer browser bench bench-search gpu docs extras install clean

study: $(STAMP)
	$(BIN)/moc study $(STUDY) $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(ARGS)

newcomer: $(STAMP)
	$(BIN)/python -m pytest -m newcomer $(ARGS)

browser: $(STAMP) $(EXTRAS)
	$(BIN)/python -m pytest -m browser $(ARGS)

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/bench.py $(if $(BASELINE),--baseline $(BASELINE)) $(if $(VICO),--vico $(VICO)) $(ARGS)

gpu: $(STAMP)
	$(BIN)/python tests/benchmarks/gpu.py $(if $(SMALL),--small) $(ARGS)

bench-search: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/search_side_by_side.py $(ARGS)

docs: $(STAMP) $(EXTRAS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

extras: $(EXTRAS)

ui: $(STAMP)
	$(BIN)/moc ui $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check moc tests
	$(BIN)/ruff format --check moc tests
	$(BIN)/pyright

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "moc needs Python 3.11 to 3.13; say which with: make PYTHON=python3.12 ..."'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,dev]'
	$(BIN)/python -m pip install --quiet --no-deps torchattacks==3.5.1
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps dp-accounting dm-tree absl-py
	@touch $(STAMP)

$(EXTRAS): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[hf,interop,ray,slurm,browser,docs]'
	@touch $(EXTRAS)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
