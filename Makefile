# `make verify` and `make test` are all a newcomer needs; every target sets the checkout up first.
.DEFAULT_GOAL := help
.PHONY: help setup test test-brownie verify gas lint lint-triage format compile campaign million mutate solcov keeper-faults long-tests lock clean distclean

BIN := .venv/bin
ARGS ?=
WORKERS ?= 2

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 22

setup: ## install everything (does nothing when it is done)
	@tools/setup.sh

test: setup ## all tests; tests/deploy runs Brownie's own on Anvil and Ganache
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-brownie: setup ## only the tests that Brownie runs, on Anvil
	$(BIN)/brownie test --network anvil $(ARGS)

verify: setup ## compare the contracts with the reference model
	$(BIN)/plumbline verify --cases 2000 --sequences 200 --json build/verify.json $(ARGS)

gas: setup ## measure gas and code sizes
	$(BIN)/plumbline gas --json build/gas.json $(ARGS)

campaign: setup ## a million actions of the model and 50,000 with the chain; goes on where it stopped
	$(BIN)/plumbline verify --profile model --seeds 25 --json build/campaign-model.json $(ARGS)
	$(BIN)/plumbline verify --profile chain --seeds 9 --json build/campaign-chain.json $(ARGS)

million: setup ## a million margin cases, contract against model; goes on where it stopped
	$(BIN)/plumbline diff-margin --cases 1000000 --workers $(WORKERS) --json build/margin-cases.json $(ARGS)

mutate: setup ## plant faults in the contracts, see which checks notice; goes on where it stopped
	$(BIN)/plumbline mutate run --workers $(WORKERS) --json build/mutation/report.json $(ARGS)

solcov: setup ## coverage of Solidity lines and branches by the runner and the tests together
	$(BIN)/plumbline solcov run --fresh --verify ''
	$(BIN)/plumbline solcov run --pytest '-n $(WORKERS) --dist loadfile'
	$(BIN)/plumbline solcov report --fail-lines 98 --fail-branches 95 --json build/solcov/report.json --lcov build/solcov/lcov.info $(ARGS)

keeper-faults: setup ## every fault of docs/keeper-faults.md, with 200 deaths of the keeper
	PLUMBLINE_KEEPER_KILLS=200 $(BIN)/pytest -q -s tests/keeper_faults $(ARGS)

long-tests: setup ## tests over the whole real history, and many more deaths of the dispatcher; ten minutes
	PLUMBLINE_CAMPAIGN=1 PLUMBLINE_KILL_POINTS=200 PLUMBLINE_DISPATCH_SEEDS=40 $(BIN)/pytest -q \
		tests/quant/test_archetype_backtest.py tests/quant/test_efficiency.py \
		tests/keeper/test_dispatch_kill.py tests/keeper/test_dispatch_random.py $(ARGS)

lint: setup ## ruff, mypy --strict, solhint, Slither, forge lint, code sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	node_modules/.bin/solhint --disc --noPoster --max-warnings 0 'contracts/**/*.sol' 'interfaces/**/*.sol'
	$(BIN)/python tools/lint_contracts.py

lint-triage: setup ## bring the table of docs/lint.md up to date; new rows say TODO
	$(BIN)/python tools/lint_contracts.py --write

format: setup ## rewrite Python sources in the agreed format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

compile: setup ## compile the contracts with Brownie
	$(BIN)/brownie compile

lock: setup ## resolve the direct pins anew into requirements.lock and tools/slither.lock
	$(BIN)/uv pip compile pyproject.toml --extra quant --extra dev --universal \
		--python-version 3.10 --no-python-downloads --generate-hashes --no-config \
		--default-index https://pypi.org/simple --custom-compile-command 'make lock' \
		--quiet --output-file requirements.lock
	$(BIN)/uv pip compile tools/slither.in --universal --python-version 3.10 \
		--no-python-downloads --generate-hashes --no-config \
		--default-index https://pypi.org/simple --custom-compile-command 'make lock' \
		--quiet --output-file tools/slither.lock

clean: ## remove what was built; keep what was installed
	rm -rf build reports .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find risk tests scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## remove what was installed, too
	rm -rf .venv node_modules *.egg-info
