# The two commands: `make book` and `make test`. `make help` lists the rest.
# Each makes .venv when it is missing or requirements.txt changed, and says what it does.
# CHAPTERS=changed (stale ones and a rotating quarter), stale, or words of paths: only these notebooks.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.requirements
PORT   ?= 8000
CHAPTERS ?= all
LANGUAGE ?= both
REPORTS := _build/reports

export OMP_NUM_THREADS ?= 2
export TQDM_DISABLE = 1
# Compiled modules are kept, whatever the shell says: else each process compiles the tests again.
unexport PYTHONDONTWRITEBYTECODE
# A backend set by the shell would keep the notebooks from showing their figures.
unexport MPLBACKEND

.DEFAULT_GOAL := help
.PHONY: help venv book serve pdf student test lint unit slow weekly other-machine spread notebooks gates check-notebooks notebooks-elsewhere pages \
  smoke check-book bench clean

help: ## list these targets
	@echo "Targets:"
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo "Variables: PYTHON=$(PYTHON) (makes .venv), PORT=$(PORT) (make serve),"
	@echo "  CHAPTERS=$(CHAPTERS) (all, changed, stale or words: the notebooks to execute)"

venv: $(STAMP) ## make .venv with everything in requirements.txt

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "== Making $(VENV) from requirements.txt (minutes; only when it changes) =="
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt | grep -v "already satisfied" || true
	@$(BIN)/python -m pip check >/dev/null || { $(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt; }
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@

book: $(STAMP) ## build the three editions into _build/site
	@echo "== Building the book (双语, English, 中文) from the stored notebooks =="
	@$(BIN)/python book/editions.py

serve: $(STAMP) ## serve the built book on this machine only
	@test -f _build/site/index.html || $(MAKE) --no-print-directory book
	@echo "Open http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/site

pdf: $(STAMP) ## print the English and the Chinese edition into _build/pdf
	@$(BIN)/python book/print.py

student: $(STAMP) ## write the chapters without solutions into _build/student (LANGUAGE=en, zh, both)
	@$(BIN)/python -m segedu.teaching student --language $(LANGUAGE)

# Every part of the test runs, whatever the others say; the summary stands at the end.
PARTS = lint unit slow other-machine gates check-notebooks smoke pages check-book
ifeq ($(CHAPTERS),changed)
PARTS += notebooks-elsewhere
endif

test: $(STAMP) ## run everything: lint, unit, slow, other machine, gates, notebooks, pages, book
	@rm -rf $(REPORTS); mkdir -p $(REPORTS); summary=""; failed=0; \
	for part in $(PARTS); do \
	  start=$$(date +%s); \
	  if $(MAKE) --no-print-directory $$part; then verdict=passed; else verdict=FAILED; failed=1; fi; \
	  summary="$$summary$$(printf '  %-20s %-7s %5d s' $$part $$verdict $$(( $$(date +%s) - start )))\n"; \
	done; \
	$(BIN)/python -m tests.slowest $(REPORTS)/*.xml; \
	echo "== Summary =="; printf "$$summary"; exit $$failed

lint: $(STAMP) ## check style (ruff)
	@echo "== Lint =="
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# Each part leaves a report for the summary. nbval is left out where no notebook runs: every
# process would spend seconds importing it.
PYTEST = $(BIN)/python -m pytest -q -n 2 --junitxml=$(REPORTS)/$@.xml
TESTS = OMP_NUM_THREADS=1 $(PYTEST) --dist worksteal -p no:nbval
UNIT = $(TESTS) tests --ignore=tests/chapters --ignore=tests/book

unit: $(STAMP) ## unit, property and parity tests
	@echo "== Unit, property and parity tests =="
	@$(UNIT) -m "not browser and not slow and not weekly"

slow: $(STAMP) ## the unit tests that take long: networks train, trainings are killed
	@echo "== Short trainings, killed trainings, installations =="
	@$(UNIT) -m "slow and not browser and not weekly"

weekly: $(STAMP) ## compile, export and train the networks that unit and slow leave out
	@echo "== The other networks: captured as one graph, exported, trained =="
	@$(UNIT) -m weekly

# The instruction sets of a processor of 2008, for torch's own code, oneDNN and MKL: other digits.
OTHER_MACHINE = ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

other-machine: $(STAMP) ## the parity tests as another processor would run them
	@echo "== Parity tests without the newer instructions of this processor =="
	@export $(OTHER_MACHINE) && $(TESTS) tests/parity

spread: $(STAMP) ## run a chapter on several machines, in effect, and with other seeds (NOTEBOOK=...)
	@$(BIN)/python -m tests.chapters.spread $(NOTEBOOK) $(OTHER_MACHINE)

notebooks: $(STAMP) ## execute notebooks again, store their outputs, record their fingerprints
	@echo "== Executing notebooks in place, two at a time =="
	@$(BIN)/python -m tests.chapters.store $(CHAPTERS)

gates: $(STAMP) ## what every chapter must satisfy, without executing it
	@echo "== Chapters: gates =="
	@$(TESTS) tests/chapters

smoke: $(STAMP) ## run the notebooks with other parameters, as small as they go
	@echo "== Notebooks: other parameters =="
	@$(BIN)/python -m tests.chapters.smoke $(CHAPTERS)

# $(call execute,WHICH,OPTION): the shell stops where the selection fails or is empty.
execute = notebooks=$$($(BIN)/python -m tests.chapters.fingerprints $(1)) && [ -n "$$notebooks" ] && \
  $(PYTEST) --dist loadfile $(2) $$notebooks -p tests.chapters.nbval_results

check-notebooks: $(STAMP) ## execute the notebooks again and compare with what is stored
	@echo "== Notebooks: executed again and compared =="
	@$(call execute,$(CHAPTERS),--nbval)

notebooks-elsewhere: $(STAMP) ## an eighth of the notebooks as another processor would run them
	@echo "== Notebooks without the newer instructions of this processor: results compared =="
	@export $(OTHER_MACHINE) && $(call execute,eighth,--nbval-lax)

pages: $(STAMP) ## open what the package itself shows in a browser: charts, reports, the service
	@echo "== Pages of the package =="
	@$(UNIT) -m browser

check-book: $(STAMP) ## build the book with warnings as errors; open every page in a browser
	@echo "== Book =="
	@$(TESTS) tests/book

bench: $(STAMP) ## compare segedu with its peers
	@$(BIN)/python -m benchmarks

clean: ## remove what was built (keeps .venv)
	rm -rf _build .pytest_cache .ruff_cache .hypothesis build *.egg-info
