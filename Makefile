# Everything runs from .venv. `make setup` makes it, and every other target calls `setup` when .venv is out of date.
# With another environment: make test VENV=.venv-python3.13 PYTHON=python3.13

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The Python that .venv is made with: make setup PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
# Those that `make test-pythons` runs the unit tests on: the oldest that is supported, and the newest of Debian.
PYTHONS ?= python3.11 python3.13
# What `make test-pythons` does where one of them is missing: skip it, or fail.
MISSING ?= skip
# Only `make lock` needs uv; nothing else does.
UV ?= uv
LOCK_FLAGS ?=
# Only `make audit` needs pip-audit, and an advisory database over the network (docs/security.md).
PIP_AUDIT ?= pip-audit
PYTEST_FLAGS ?=
# The tests wait for real programs most of the time: more processes than processors.
TEST_PROCESSES ?= 3
# The tests of a file share servers: they run in one process.
PYTEST = $(BIN)/pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile
HERE = not faults and not install and not deploy and not site
QUICK = not slow and $(HERE)
# On SQLite these slow tests run measured, and so do the programs that they start, because no quick test runs their lines.
# The other slow tests run unmeasured, which takes half the time. PostgreSQL and MariaDB run the lines that SQLite runs.
MEASURED = tests/acceptance/test_demo.py tests/acceptance/test_serve.py tests/acceptance/test_worker_and_beat.py
BENCH_FLAGS ?=
# make release BASE_URL=https://git.example.com/billing/reconciler/blob/v2.0.0/ IMAGE=recharge-reconciler:2.0.0
BASE_URL ?=
IMAGE ?=
CONTAINERS ?= docker
# make demo DEMO_FLAGS=--serve
DEMO_FLAGS ?=
# make faults SEED=7 ONLY=13,20 RESUME=1
SEED ?=
ONLY ?=
RESUME ?=
FAULTS_FLAGS ?=
# make platforms COUNT=1000 SEED=7
COUNT ?= 200

BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
# The words that people read, compiled.
WORDS := worker/words/locale/zh.mo
# The programs of `make test-deploy` that come as wheels.
DEPLOY_TOOLS := build/deploy-tools
# That of `make release`.
RELEASE_TOOLS := build/release-tools
# Those of `make docs`.
DOCS_TOOLS := build/docs-tools
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(LOCK_FLAGS)

.PHONY: help setup messages demo test test-all test-measured test-slow test-databases test-deploy test-unit test-pythons lint format bench bench-schedule bench-tick bench-ingest bench-accounts bench-notify faults platforms pictures model lock docs release audit clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) $(WORDS) ## Make .venv with the project and all that its tests need, pinned

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make setup needs Python 3.11 or newer, and '$(PYTHON)' is not: make setup PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	    { echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu, install the python3-venv package" >&2; rm -rf $(VENV); exit 1; }
	@echo "Installing the pinned packages into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
	    --only-binary :all: --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
	    --no-index --no-build-isolation -e .
	@touch $(STAMP)

$(WORDS): worker/words/locale/zh.po $(STAMP)
	@$(BIN)/python -c 'import hatch_build, pathlib; hatch_build.compile_words(pathlib.Path())'
	@touch $@

messages: setup ## Find the words that people read, and add those that are new to the catalogues
	@$(BIN)/pybabel -q extract -F pyproject.toml --no-location --sort-output --omit-header -o .messages.pot worker
	@for catalogue in worker/words/locale/*.po; do \
	    $(BIN)/pybabel -q update -i .messages.pot -o "$$catalogue" -l "$$(basename "$$catalogue" .po)" \
	        --no-wrap --no-fuzzy-matching --ignore-obsolete --omit-header; \
	done; rm -f .messages.pot
	@$(MAKE) --no-print-directory $(WORDS)

demo: setup ## Watch 1,000 orders being reconciled on embedded parts (DEMO_FLAGS=--serve keeps the console up)
	@$(BIN)/reconciler demo $(DEMO_FLAGS)

# They cover every branch of the domain. What else they measure, COVERED says (pyproject.toml).
define MEASURED_UNIT_TESTS
@$(BIN)/coverage erase
@COVERED_BY=_exit $(PYTEST) -m "$(QUICK)" tests/unit --cov --cov-report= --cov-fail-under=0 $(PYTEST_FLAGS)
@echo "The domain, every branch of it:"
@$(BIN)/coverage report --include='worker/domain/*' --fail-under=100
endef

test: export COVERED = worker.domain
test: setup ## Run the quick tests, which cover every branch of the domain (minutes; needs no service)
	$(MEASURED_UNIT_TESTS)
	@$(PYTEST) -m "$(QUICK)" --ignore=tests/unit $(PYTEST_FLAGS)

test-all: test-measured test-slow test-databases ## Run the slow tests as well, with all coverage gates (needs no service; says what it skips)

test-measured: setup ## Run the quick tests on SQLite and a few programs, with all coverage gates
	$(MEASURED_UNIT_TESTS)
	@COVERED_BY=_exit $(PYTEST) -m "$(QUICK) and not mariadb and not postgresql" --ignore=tests/unit \
	    --cov --cov-append --cov-report= --cov-fail-under=0 $(PYTEST_FLAGS)
	@$(PYTEST) -m "slow and not mariadb and not postgresql" $(MEASURED) --cov --cov-append --cov-report=term $(PYTEST_FLAGS)

test-slow: setup ## Run the other slow tests, without those of PostgreSQL and MariaDB
	@$(PYTEST) -m "slow and not mariadb and not postgresql and $(HERE)" $(MEASURED:%=--ignore=%) $(PYTEST_FLAGS)

test-databases: setup ## Run all tests of PostgreSQL and MariaDB, the slow ones included
	@$(PYTEST) -m "(mariadb or postgresql) and $(HERE)" $(PYTEST_FLAGS)

test-deploy: setup $(DEPLOY_TOOLS)/.done ## Run each file of deploy/ with the program that it is for (minutes; as root; says what it skips)
	@PATH="$(CURDIR)/$(DEPLOY_TOOLS)/bin:$$PATH" $(PYTEST) -m deploy tests/deploy $(PYTEST_FLAGS)

test-unit: setup ## Run the unit tests alone, without coverage
	@$(PYTEST) tests/unit $(PYTEST_FLAGS)

test-pythons: ## Run the unit tests on other Pythons, each in an environment of its own (PYTHONS=python3.12)
	@for python in $(PYTHONS); do \
	    if command -v "$$python" > /dev/null; then \
	        echo "Unit tests on $$("$$python" --version)"; \
	        $(MAKE) --no-print-directory test-unit PYTHON="$$python" VENV=".venv-$$python" || exit 1; \
	    else \
	        echo "SKIPPED: this machine has no $$python" >&2; \
	        test "$(MISSING)" = skip || exit 1; \
	    fi; \
	done

lint: setup ## Check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## Fix style where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure, and print medians
	@$(BIN)/python -m benchmarks $(BENCH_FLAGS)

bench-schedule: setup ## Run the policies that choose the batch, in virtual time, and plot them in docs/schedule.svg (minutes)
	@$(BIN)/python -m benchmarks.schedule --plot docs/schedule.svg $(BENCH_FLAGS)

bench-tick: setup ## Measure a tick on tables of 10,000 and 10,000,000 orders (BENCH_FLAGS=--quick: 100,000; minutes the first time)
	@$(BIN)/python -m benchmarks.tick.sizes $(BENCH_FLAGS)

bench-ingest: setup ## Measure lists, single orders and callbacks taken in, and a flood (minutes; BENCH_FLAGS="singles", "--flood 200000", ...)
	@$(BIN)/python -m benchmarks.ingest $(BENCH_FLAGS)

bench-accounts: setup ## Measure 1,000 accounts with a backlog each (minutes; BENCH_FLAGS="--hanging 50", ...)
	@$(BIN)/python -m benchmarks.accounts $(BENCH_FLAGS)

bench-notify: setup ## Measure notifications: deliveries, their delay, and what they cost queries and write-backs (minutes; BENCH_FLAGS=--quick)
	@$(BIN)/python -m benchmarks.notify $(BENCH_FLAGS)

faults: setup ## Inject every fault into real workers, and check (SEED=7 ONLY=13 RESUME=1; up to 90 minutes)
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(RESUME),--resume) \
	    $(FAULTS_FLAGS)

pictures: setup ## Save what each page of the console looks like, and draw the pictures of docs/ (needs Chromium, ImageMagick)
	@RECONCILER_TEST_PICTURES=$(CURDIR)/build/screenshots $(PYTEST) tests/acceptance/test_console_in_chromium.py
	@cd build/screenshots && for picture in docs/*.png docs/zh-CN/*.png; do \
	    convert "$$picture" -strip +dither -colors 128 "PNG8:$(CURDIR)/$$picture" || exit 1; \
	done; ls

platforms: setup ## Run the worker against random platforms in virtual time, and check (COUNT=1000 SEED=7; minutes)
	@$(BIN)/python -m tests.platforms --count $(COUNT) $(if $(SEED),--seed $(SEED))

mutants: setup ## Change 400 decisions in a copy, one at a time, and run the tests that execute them (SEED=7 MUTANTS_FLAGS="--count 1000"; up to an hour)
	@$(BIN)/python -m tests.mutants.generated --processes $(TEST_PROCESSES) $(if $(SEED),--seed $(SEED)) $(MUTANTS_FLAGS)

model: ## Check the budget's protocol with spin (Debian: spin and gcc; a few minutes)
	@$(PYTHON) docs/model/check.py

lock: ## Compile the requirements again (needs uv; LOCK_FLAGS=--upgrade for newer versions)
	$(COMPILE) --group build -o requirements/build.txt
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra web -o requirements/web.txt
	$(COMPILE) --group deploy -o requirements/deploy.txt
	$(COMPILE) --group release -o requirements/release.txt
	$(COMPILE) --group docs -o requirements/docs.txt
	$(COMPILE) pyproject.toml --extra demo --extra web --group dev -o requirements/dev.txt

docs: setup $(DOCS_TOOLS)/.done ## Build the documents as a site into build/site, and follow each link (BASE_URL: where links to code lead)
	@rm -rf build/site
	@RECONCILER_RELEASE_BASE_URL=$(BASE_URL) $(DOCS_TOOLS)/bin/sphinx-build --builder html --conf-dir docs --nitpicky --quiet \
	    --fail-on-warning --keep-going --doctree-dir build/doctrees . build/site
	@cp build/site/README.html build/site/index.html
	@$(BIN)/pytest -q -m site tests/acceptance/test_site.py $(PYTEST_FLAGS)
	@echo "build/site/index.html"

release: setup $(RELEASE_TOOLS)/.done ## Build what is published into dist/: wheel, sdist, SBOM, checksums (docs/releasing.md)
	@rm -rf dist
	@RECONCILER_RELEASE_BASE_URL=$(BASE_URL) $(BIN)/hatchling build -d dist > /dev/null
	@sed "s/^dynamic = .*/version = \"$$($(BIN)/hatchling version)\"/" pyproject.toml > $(RELEASE_TOOLS)/pyproject.toml
	@$(RELEASE_TOOLS)/bin/cyclonedx-py requirements --pyproject $(RELEASE_TOOLS)/pyproject.toml --mc-type application --output-reproducible \
	    --output-file dist/recharge-reconciler-$$($(BIN)/hatchling version).cdx.json requirements/web.txt
	@if test -n "$(IMAGE)"; then $(CONTAINERS) run --rm --entrypoint sh $(IMAGE) -c \
	    "dpkg-query --show --showformat '\$${Package} \$${Version}\n' && pip list --format=freeze" > dist/image-packages.txt; \
	else echo "without the image's list of packages: IMAGE names the image (CONTAINERS=podman)" >&2; fi
	@cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

build/%-tools/.done: requirements/%.txt
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
	    --only-binary :all: --require-hashes -r $<
	@touch $@

audit: ## Search for known vulnerabilities of the pinned packages (needs pip-audit and a network)
	$(PIP_AUDIT) --strict --disable-pip --require-hashes -r requirements/web.txt

clean: ## Remove .venv and everything that was made
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* build dist $(WORDS)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
