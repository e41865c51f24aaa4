# Everything that ghostdesk needs, from nothing, by the ordinary clients. `make help` lists the targets.
# The scripts see for themselves what is there already; then they are quick and silent.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
STATIC := src/ghostdesk/server/static/index.html

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: setup-run ## Set everything up, start ghostdesk, print a one-time sign-in address
	@exec $(VENV)/bin/ghostdesk run $(ARGS)

setup-run: system-run python-run $(STATIC) ## What `make run` needs, without starting it
	@:

test: setup-test ## Set everything up, check and test everything
	@scripts/check $(ARGS)

setup-test: system-test python-dev $(STATIC) ## What `make test` needs, without running it
	@:

bench: system-bench python-dev $(STATIC) ## Set up the heavy applications and run every benchmark
	@exec $(VENV)/bin/ghostdesk bench all $(ARGS)

system-%:
	@scripts/setup-system $*

python-%:
	@scripts/setup-python $*

$(STATIC): $(shell find web -name node_modules -prune -o -type f -print) scripts/build-page
	@scripts/build-page
	@touch $@

clean: ## Remove what was built here (not the state, the homes or the history)
	rm -rf $(VENV) web/node_modules src/ghostdesk/server/static build

# In the order that is written: the environment needs the system's packages.
.NOTPARALLEL:
.PHONY: help run setup-run test setup-test bench clean
