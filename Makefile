# Every target sets itself up: a stamp file stands for "installed", and goes stale when the files it depends on change.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# two processes of one thread each take half the time of one; a file's tests share a process, and so its fixtures;
# tests/conftest.py says in which order
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
JUDGE_READY := .judge/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test fast lint judge browser lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(READY) $(JUDGE_READY)  ## the whole path on drawn shelves: train, compare, pack, run as the judge does, score (into demo/)
	$(RUN) -m experiments.demo --out demo

test: $(READY) $(JUDGE_READY)  ## ruff, mypy and every test, the slow ones too
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(PYTEST)

fast: $(READY)  ## the tests that are not slow, the inner loop
	$(PYTEST) -m "not slow"

lint: $(READY)  ## ruff and mypy only
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

judge: $(JUDGE_READY)  ## the environment with just the packages the judge has

browser:  ## Debian's chromium, which the tests of the pages drive where it is installed (as root; apt-get)
	command -v chromium > /dev/null || { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends chromium; }

lock: $(READY)  ## rewrite requirements.lock after a change of the dependencies; pins that still fit stay as they are
	$(VENV)/bin/uv pip compile --quiet pyproject.toml --extra dev --extra distill --python-version 3.11 \
	    --no-emit-index-url --no-header --no-annotate --output-file requirements.lock

clean:  ## remove what was built, and the demo's output; the environments stay
	rm -rf demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './.judge/*' -prune -exec rm -rf {} +

$(VENV)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	    { echo 'hylle needs Python 3.11 or 3.12 (numpy 1.26 ends there); name one: make PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet uv

$(READY): requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(VENV)/bin/uv pip install --quiet --python $(RUN) -r requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps -e .
	touch $@

# the judge's versions of what run.py imports, to run a zip as the judge does
$(JUDGE_READY): submission/judge-requirements.txt | $(READY)
	$(RUN) -m submission.sandbox --set-up
	touch $@
