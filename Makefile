# Everything that ghostdesk needs, from nothing, by the ordinary clients. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := .make
STATIC := src/ghostdesk/server/static/index.html

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: setup-run ## Set everything up, start ghostdesk, print a one-time sign-in address
	@exec $(VENV)/bin/ghostdesk run $(ARGS)

setup-run: $(STAMPS)/apt-run $(STAMPS)/venv-run $(STATIC) ## What `make run` needs, without starting it

test: setup-test ## Set everything up, check and test everything
	@scripts/check

setup-test: $(STAMPS)/apt-test $(STAMPS)/venv-dev $(STATIC) ## What `make test` needs, without running it

bench: $(STAMPS)/apt-bench $(STAMPS)/venv-dev $(STATIC) ## Set up the heavy applications and run every benchmark
	@exec $(VENV)/bin/ghostdesk bench all $(ARGS)

$(STAMPS)/apt-%: scripts/setup-system scripts/packages-%.txt scripts/packages-run.txt
	@scripts/setup-system $*
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv-run: pyproject.toml constraints.txt scripts/setup-python | $(STAMPS)/apt-run
	@scripts/setup-python run
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv-dev: pyproject.toml constraints.txt scripts/setup-python | $(STAMPS)/apt-test
	@scripts/setup-python dev
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/venv-run

$(STATIC): $(wildcard web/src/*) $(wildcard web/*.html web/*.css web/*.json web/*.mjs web/*.svg) scripts/build-page | $(STAMPS)/apt-run
	@scripts/build-page
	@touch $@

clean: ## Remove what was built here (not the state, the homes or the history)
	rm -rf $(STAMPS) $(VENV) web/node_modules src/ghostdesk/server/static build

.PHONY: help run setup-run test setup-test bench clean
