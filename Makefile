# make reproduce   every reproduction notebook, at the default preset, into reports/
# make docs        the documentation site, in build/docs/site; in an environment of its own, .venv-docs
# make test        what is checked after each change, ending with pytest's summary
# make test-slow   the rest: the slow cells of lessons, tests of several processes, of Slurm, of browsers
#
#   PRESET=quick        smoke | quick | brief | scratch | study | paper
#   NB=ablation_p       one notebook (or several, in quotes) in place of all
#   ARGS='-p seeds 0,1'  more parameters for papermill
#   JOBS=2              notebooks at a time, which share the cores (smoke: 3); 1 where they share a GPU
#   PYTHON=python3      the Python that makes .venv (3.11 to 3.13)
PRESET ?= quick
PYTHON ?= python3
BIN    := .venv/bin
# the longest files first, as tests/conftest.py has them
PYTEST  = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# a reproduction notebook is one with a cell tagged "parameters"
NOTEBOOKS := $(basename $(notdir $(shell grep -l '"parameters"' nbs/*.ipynb)))
NB     ?= $(NOTEBOOKS)
OUT    ?= reports
JOBS   ?= 2
# the longest first, but for what must wait: zero_shot encodes faces, which the ablations and table1 use; qualitative shows table1's networks
FIRST  := performance zero_shot errata training_schemes long_video study ablation_schedule ablation_p ablation_scale table1
RUNS   := $(patsubst %,run-%,$(foreach n,$(FIRST),$(filter $n,$(NB))) $(filter-out $(FIRST),$(NB)))
ALONE  := $(if $(filter smoke,$(PRESET)),,run-performance)
BESIDE := $(filter-out $(ALONE) run-claims,$(RUNS))

unexport PYTHONDONTWRITEBYTECODE   # installed modules are compiled once, when first imported

.PHONY: reproduce smoke notebooks variables $(RUNS) install check test test-slow docs clean
reproduce: variables install
	@$(MAKE) --no-print-directory -j$(JOBS) notebooks

# they wait for each other, too
smoke: JOBS := 3
smoke: variables install
	@$(MAKE) --no-print-directory -j$(JOBS) notebooks OUT=reports/smoke PRESET=smoke JOBS=$(JOBS)

# what is asked for is checked before anything is installed
variables:
	@for n in $(NB); do test -f nbs/$$n.ipynb || { echo "NB is '$$n', but may be of: $(NOTEBOOKS)"; exit 2; }; done
	@case ' smoke quick brief scratch study paper ' in *' $(PRESET) '*) ;; *) \
	  echo "PRESET is '$(PRESET)', but may be one of: smoke, quick, brief, scratch, study, paper"; exit 2;; esac
	@test "$(JOBS)" -ge 1 2>/dev/null || { echo "JOBS is '$(JOBS)', but must be a whole number, at least 1"; exit 2; }

# JOBS at a time, which share the cores; what two of them need, one computes and the other waits for.
# performance takes times, so it runs alone; claims reads what the others wrote
notebooks: $(RUNS)
ifneq ($(word 2,$(BESIDE)),)
$(BESIDE): export OMP_NUM_THREADS = $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) + $(JOBS) - 1) / $(JOBS) )))
endif
$(ALONE): | $(BESIDE)
run-claims: | $(filter-out run-claims,$(RUNS))

# one notebook: executed in OUT and moved into its report's folder when it is whole
$(RUNS): run-%:
	@mkdir -p $(OUT)
	$(BIN)/papermill nbs/$*.ipynb $(OUT)/.$*.part.ipynb -k python3 -p preset $(PRESET) -p out $(OUT) $(ARGS) --log-output --no-progress-bar
	@$(BIN)/python scripts/place_report.py $(OUT)/.$*.part.ipynb $(OUT)

install: .venv/.installed
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e ".[dev]"
	@mkdir -p .venv/etc/jupyter && ln -sf ../../../scripts/jupyter_server_config.py .venv/etc/jupyter/
	@touch $@

# notebooks and library in step; one statement a line, 120 columns, no function too complex
check: install
	$(BIN)/python scripts/check_in_step.py
	$(BIN)/ruff check -q nbs scripts tests
	$(BIN)/ruff format -q --check nbs scripts tests

test: check
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 3   # a third is at work while one waits
	@$(MAKE) --no-print-directory smoke
	$(PYTEST) -m "not slow"

test-slow: install
	@set -e; for n in $$(grep -l '#| slow' nbs/*.ipynb); do OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path $$n --flags slow; done
	$(PYTEST) -m slow

# nothing is executed and nothing of the library is imported
docs: .venv-docs/.installed
	.venv-docs/bin/python scripts/make_docs.py
.venv-docs/.installed: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install -q -r docs/requirements.txt
	@touch $@

clean:
	rm -rf .venv .venv-docs build cache runs reports/smoke
