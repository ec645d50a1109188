# On a fresh machine with Python 3.11 to 3.13 and make: `make demo` or `make test`, nothing else by hand.

PYTHON ?= python3

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
BIN := .venv/bin
# What is installed, and for which Python. The file is made last, so an interrupted install is not taken as done.
DEMO := .venv/demo-$(VERSION)
TEST := .venv/test-$(VERSION)
NIGHTLY := .venv/nightly-$(VERSION)
CHECK := .venv/check-$(VERSION)

.NOTPARALLEL:
.PHONY: help demo test nightly models records check clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18
	@echo 'Each makes what it needs in .venv, with $(PYTHON) (another one: make test PYTHON=python3.12).'

demo: $(DEMO) ## the report on the models that come with muspike, in report/ (3 minutes)
	@$(BIN)/muspike bench --quick -o report

test: $(TEST) ## the tests (some minutes), on up to 4 cores; ARGS='-k simulator' goes to pytest
	@$(BIN)/python -m pytest -m 'not nightly' -n auto --maxprocesses 4 --dist loadfile $(ARGS)

models: $(DEMO) ## train the models that ship and their twins, what is missing of them (hours; ARGS='--threads 2')
	@$(BIN)/python -m muspike.bench.shipped train $(ARGS)

MODELS ?= s-cnn s-rnn s-lstm s-gan s-transformer
records: $(TEST) ## after a model that ships has changed: measure again what the documentation says (an hour; MODELS='s-rnn')
	@set -e; keep() { "$$@" >build/record && mv build/record "$$file"; }; mkdir -p build; \
	$(BIN)/muspike bench --quick -o report; cp report/bench.json docs/results/bench.json; \
	file=docs/results/targets.json; keep $(BIN)/muspike targets --json; \
	for log in parallels biases silent; do file=docs/results/logs/$$log.txt; keep $(BIN)/python bench/versus/$$log.py; done; \
	$(BIN)/python bench/versus/opinions.py; \
	for model in $(MODELS); do \
	$(BIN)/muspike measure $$model --on cpu --quick --threads 1 -o build/measured.json; \
	mv build/measured.json docs/results/measured/$$model.json; done; \
	$(BIN)/python bench/versus/nir_readers.py; \
	$(BIN)/python -m muspike.bench.shipped tables

nightly: $(NIGHTLY) ## all tests, the long ones too; those of the report want Debian's Chromium
	@$(BIN)/python -m pytest $(ARGS)

check: $(CHECK) ## lint the tree; check the types of the built package and of the tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@rm -rf build && mkdir build
	@$(BIN)/python -m build --wheel --no-isolation --outdir build/dist >build/log 2>&1 || { cat build/log >&2; exit 1; }
	@$(BIN)/python -m zipfile -e build/dist/muspike-*.whl build/site
	@cp -r tests build/site && mv build/site/tests/helpers/*.py build/site # where the tests find them
	@cd build/site && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p muspike -p tests

clean: ## remove what make made: .venv, build, report, caches
	@rm -rf .venv build report muspike.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find muspike hardware export bench tests -name __pycache__ -prune -exec rm -rf {} +

$(DEMO): EXTRAS := [audio,onnx]
$(TEST): EXTRAS := [test]
$(NIGHTLY): EXTRAS := [test,browser,cluster,triton]
$(CHECK): EXTRAS := [check]
$(DEMO) $(TEST) $(NIGHTLY) $(CHECK): pyproject.toml constraints.txt
	@case '$(VERSION)' in \
	3.11|3.12|3.13) ;; \
	'') echo 'make: $(PYTHON) does not run; muspike needs Python 3.11 to 3.13 (on Debian: apt install python3 python3-venv)' >&2; exit 1;; \
	*) echo 'make: $(PYTHON) is Python $(VERSION); muspike needs 3.11 to 3.13 (make $(MAKECMDGOALS) PYTHON=python3.12)' >&2; exit 1;; \
	esac
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo 'make: $(PYTHON) cannot make virtual environments (on Debian: apt install python$(VERSION)-venv)' >&2; exit 1; }
	@test "$$($(BIN)/python -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = '$(VERSION)' || \
	{ echo 'making .venv'; $(PYTHON) -m venv --clear .venv; }
	@echo 'installing muspike$(EXTRAS) and what it needs in .venv (some minutes the first time)'
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -e '.$(EXTRAS)'
	@touch $@
