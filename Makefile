# Everything works on a machine that has only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNELS := $(wildcard moebius/fast/cpu/*.[ch] pipeline/codecs/jpeg/*.c)
RAY ?= oldest
RAY_oldest = ==$(shell sed -n 's/.*"ray\[data\]>=\([0-9.]*\)".*/\1/p' pyproject.toml)
RAY_newest =
RAY_VENV := out/ray-$(RAY)
RAY_TESTS := tests/test_joined_cluster.py tests/jobs/test_commands.py tests/pipeline/training \
	$(addprefix tests/pipeline/,cluster executor faults/test_roster.py worker) \
	$(addprefix tests/pipeline/scenarios/,test_faults.py test_kill_points.py test_run.py test_whose_fault.py)

DRILL_OPTIONS := $(if $(SINK),--sink $(SINK)) $(if $(STORE),--store $(STORE)) $(if $(FAULTS),--faults $(FAULTS))

.PHONY: help demo test test-all test-ray drill drills fuzz lint format docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,text,evaluate]'
	touch $@

demo: $(VENV)/.installed  ## inpaint the photos of the repository and draw a contact sheet
	$(BIN)/moebius inpaint conf/demo.yaml
	$(BIN)/moebius contact-sheet out/demo out/demo/contact_sheet.png
	@echo "results:  $(CURDIR)/out/demo/data/"
	@echo "manifest: $(CURDIR)/out/demo/manifest/ (Parquet)"
	@echo "report:   $(CURDIR)/out/demo/report.html"

test: lint  ## check style and types, then run the tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-all: lint  ## the same with the tests that take minutes
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[cluster]'
	$(BIN)/python -m pytest -q -m '' -n 2 --dist loadfile --no-loadscope-reorder

# In an environment over the other one, which has only Ray and what the other one lacks.
test-ray: $(VENV)/.installed  ## test with another release of Ray: RAY=oldest, RAY=newest, RAY=2.59.0
	$(BIN)/python -m venv $(RAY_VENV)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(RAY_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth"
	grep -v '^ray==' constraints.txt > $(RAY_VENV)/constraints.txt
	$(RAY_VENV)/bin/python -m pip install -q -U -c $(RAY_VENV)/constraints.txt \
		'ray[data,default,train]$(if $(filter oldest newest,$(RAY)),$(RAY_$(RAY)),==$(RAY))'
	PYTHONPATH=$(CURDIR) $(RAY_VENV)/bin/python -m pytest -q -m '' -n 2 --dist loadfile --no-loadscope-reorder $(RAY_TESTS)

drill: $(VENV)/.installed  ## one job under constant fire, compared byte for byte; SEED=n SAMPLES=n SINK=format STORE=s3|disk FAULTS=a,b
	$(BIN)/python -m tests.drill --seed $(or $(SEED),0) --samples $(or $(SAMPLES),2000) $(DRILL_OPTIONS)

drills: $(VENV)/.installed  ## ten small drills of different seeds, and one table of them; SEED=n is the first
	$(BIN)/python -m tests.drill --seeds 10 --seed $(or $(SEED),0) --samples $(or $(SAMPLES),70) $(DRILL_OPTIONS)

fuzz: $(VENV)/.installed  ## broken files, masks, annotations and names by the hundred thousand; SEED=n, INPUTS=n
	$(BIN)/python -W ignore -m tests.fuzz --seed $(or $(SEED),0) --inputs $(or $(INPUTS),100000)

lint: $(VENV)/.installed  ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(KERNELS)
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed  ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(KERNELS)

docs: $(VENV)/.installed  ## build the documentation site in out/site; any warning is an error
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site: $(CURDIR)/out/site/index.html"

clean:  ## remove the environment and all results
	rm -rf $(VENV) out
