# Everything runs in .venv, which `setup` makes once and again whenever the requirements change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := models search service storage

.PHONY: setup demo serve test test-slow check docs format clean
.PHONY: bench-search bench-fidelity bench-optimality bench-what-if bench-operators bench-methods bench-long-tail bench-adder bench-latency bench-latency-budget bench-any-model bench-faults bench-openapi bench-pages bench-speed bench-muon bench-resnet56 bench-load bench-scale bench-anatomy

setup: $(STAMP)

# Setuptools warns of every editable install, whatever is in it.
$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): 7 GB, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable .
	touch $(STAMP)

demo: setup
	$(BIN)/pareconv demo

serve: setup
	$(BIN)/pareconv serve

# A process for each core, one thread each: more threads than cores make torch many times slower. All
# must find the same tests in the same order, sets included. The browser tests leave a picture of every page
# in build/screenshots.
test: setup
	OMP_NUM_THREADS=1 PYTHONHASHSEED=0 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow

# mypy reads the folders as `pareconv.*` through a folder of links, as the install maps them.
check: setup
	mkdir -p build/typed/pareconv
	for package in $(PACKAGES); do ln -sfn ../../../$$package build/typed/pareconv/$$package; done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES:%=-p pareconv.%)
	$(MAKE) docs

# A link that leads nowhere is an error.
docs: setup
	$(BIN)/sphinx-build --quiet --fail-on-warning --builder html docs build/docs

# bench-search takes some hours of two cores; all but bench-latency, bench-load, bench-pages and bench-speed go on where they were stopped.
# Other tools are installed for them alone.
bench-search bench-fidelity bench-optimality bench-what-if bench-operators bench-methods bench-long-tail bench-adder bench-latency bench-latency-budget bench-any-model bench-faults bench-openapi bench-pages bench-speed bench-muon bench-resnet56 bench-load bench-scale bench-anatomy: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m benchmarks.$(subst -,_,$(@:bench-%=%))
	$(BIN)/python -m benchmarks.report

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info
