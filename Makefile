# Two words do everything: `make demo` and `make test`. The rest is daily work; see CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamps
APT := $(shell command -v apt-get)
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
BUILD_PACKAGES := build-essential pkg-config librdkafka-dev libcurl4-openssl-dev libcjson-dev zlib1g-dev libzstd-dev python3-dev python3-venv maven
TEST_PACKAGES := libcmocka-dev clang libclang-rt-14-dev chromium chromium-driver

.PHONY: demo test dev ext check check-c unit live faults mutants bench fuzz docs notebooks clean
.DELETE_ON_ERROR:

# ---- the two commands ----

demo: $(STAMP)/stack ext
	$(PY) -m kafkapipe demo $(if $(ONCE),--once) $(if $(LIGHT),--light)

test: $(STAMP)/debian-test $(STAMP)/test ext check
	$(PY) -m pytest tests

# ---- what they install ----

# Debian packages are installed only when dpkg does not have them: the second run asks no server.
define install_packages
	@missing=""; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ -z "$(APT)" ]; then echo "kafkapipe: not a Debian system; see CONTRIBUTING.md for what to install instead of:$$missing" >&2; \
	  else echo "installing Debian packages:$$missing"; $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi; fi
endef

$(STAMP)/debian: Makefile
	$(call install_packages,$(BUILD_PACKAGES))
	@mkdir -p $(STAMP) && touch $@

$(STAMP)/debian-test: $(STAMP)/debian
	$(call install_packages,$(TEST_PACKAGES))
	@touch $@

$(STAMP)/venv: $(STAMP)/debian pyproject.toml
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --upgrade pip 'setuptools>=77' wheel
	@touch $@

# The package itself is built in place (see ext), so here only what it needs is installed.
$(STAMP)/stack: $(STAMP)/venv tools/requirements.py
	@$(PY) tools/requirements.py stack | $(PY) -m pip install -q -r /dev/stdin
	@touch $@

$(STAMP)/test: $(STAMP)/venv tools/requirements.py
	@$(PY) tools/requirements.py stack test check notebook | $(PY) -m pip install -q -r /dev/stdin
	@touch $@ $(STAMP)/stack

# The peers that the benchmarks compare with.
$(STAMP)/bench: $(STAMP)/venv tools/requirements.py
	$(call install_packages,wrk)
	@$(PY) tools/requirements.py bench | $(PY) -m pip install -q -r /dev/stdin
	@touch $@

# Puts the checkout on the virtual environment's path, and the command `kafkapipe` into it.
$(STAMP)/editable: $(STAMP)/venv setup.py
	@PYTHONWARNINGS=ignore flock $(VENV)/.ext.lock $(PY) -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

ext: $(STAMP)/editable
	@flock $(VENV)/.ext.lock env KAFKAPIPE_WERROR=$(WERROR) $(PY) setup.py -q build_ext --inplace

# ---- daily work ----

dev: $(STAMP)/debian-test $(STAMP)/test ext

# Everything that is fast: format, lint, types, stubs, layers, the C core under ASan and UBSan.
check: dev check-c
	$(VENV)/bin/ruff check kafkapipe tests examples bench setup.py tools
	$(VENV)/bin/ruff format --check kafkapipe tests examples bench setup.py tools
	$(VENV)/bin/mypy
	$(PY) -m mypy.stubtest kafkapipe._core
	$(PY) docs/options.py --check

check-c: dev
	$(VENV)/bin/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.[ch]' 'tests/c/*.[ch]' 'tests/fuzz/*.[ch]' 'bench/*.[ch]')
	$(MAKE) -s -j3 -O -C tests/c  # they mostly wait

unit: dev
	$(PY) -m pytest tests/unit tests/flow tests/isolated

live: dev
	$(PY) -m pytest tests/live tests/browser

# The full doses of the fault matrix, hours; DOSE=0.1 a tenth; KAFKAPIPE_SEED=N replays a run, FAULTS="-k kills" takes
# a part of it.
DOSE ?= 1
faults: dev
	KAFKAPIPE_FAULTS=$(DOSE) $(PY) -m pytest tests/faults tests/flow/test_collector_faults.py -s $(FAULTS)

# Deliberate bugs in a copy of the tree, each of which a test must find.
mutants: dev
	$(PY) tests/faults/mutants.py

bench: dev $(STAMP)/bench
	$(PY) bench/run.py $(BENCH)

SECONDS ?= 60
fuzz: dev
	$(MAKE) -C tests/fuzz SECONDS=$(SECONDS)

docs: dev
	$(PY) docs/options.py

notebooks: dev
	$(PY) tools/notebooks.py

clean:
	rm -rf build dist *.egg-info kafkapipe/_core*.so
