# make reproduce   every reproduction notebook, at the default preset, into reports/
# make test        everything that is checked, ending with pytest's summary
#
#   PRESET=quick        smoke | quick | study | paper
#   NB=ablation_p       one notebook (or several, in quotes) in place of all
#   ARGS='-p seeds 0,1'  more parameters for papermill
#   PYTHON=python3      the Python that makes .venv (3.11 to 3.13)
PRESET ?= quick
PYTHON ?= python3
BIN    := .venv/bin
# a reproduction notebook is one with a cell tagged "parameters"; claims reads what the others wrote
NB     ?= $(filter-out claims,$(basename $(notdir $(shell grep -l '"parameters"' nbs/*.ipynb)))) claims
SMOKE  := reports/smoke

.PHONY: reproduce test check smoke install clean
reproduce: install
	@for nb in $(NB); do $(MAKE) --no-print-directory run NB=$$nb OUT=reports PRESET=$(PRESET) || exit 1; done

install: .venv/.installed
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

# one notebook: executed beside its place and moved there when it is whole
.PHONY: run
run:
	@mkdir -p $(OUT)
	@test -f nbs/$(NB).ipynb || { echo "NB is '$(NB)', but may be one of: $(basename $(notdir $(shell grep -l '"parameters"' nbs/*.ipynb)))"; exit 2; }
	$(BIN)/papermill nbs/$(NB).ipynb $(OUT)/.$(NB).part.ipynb -k python3 -p preset $(PRESET) -p out $(OUT) $(ARGS) --log-output --no-progress-bar
	@mv $(OUT)/.$(NB).part.ipynb $(OUT)/$(NB).ipynb && echo "$(OUT)/$(NB).ipynb"

check: install
	$(BIN)/python scripts/check_in_step.py

# two at a time, one a core; what they share, one computes and the other waits for
smoke: install
	@OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -j2 -O $(patsubst %,smoke-%,$(filter-out claims,$(NB)))
	@for nb in $(filter claims,$(NB)); do $(MAKE) --no-print-directory run NB=$$nb OUT=$(SMOKE) PRESET=smoke || exit 1; done
smoke-%:
	@$(MAKE) --no-print-directory run NB=$* OUT=$(SMOKE) PRESET=smoke

test: check
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2   # one notebook a core
	@$(MAKE) --no-print-directory smoke
	$(BIN)/python -m pytest

clean:
	rm -rf .venv cache runs $(SMOKE)
