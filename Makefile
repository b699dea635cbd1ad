# What a fresh checkout needs: Python ≥ 3.11 and make. Everything else is set up by `make setup`, which all depend on.
.PHONY: help setup demo test up bench faults audit
.DEFAULT_GOAL := help
BIN := .venv/bin

help:
	@echo "make demo    the whole pipeline on this machine, one signed example of every event, where each came out"
	@echo "make test    lint, types, import rules and every test, against real PostgreSQL and RabbitMQ"
	@echo "make up      the whole pipeline in the foreground, until Ctrl-C"
	@echo "make faults  everything broken on purpose under load, what was lost, and a million hostile inputs (tests/faults/README.md)"
	@echo "make bench   the benchmarks, side by side (BENCH=--quick for a minute or two, BENCH=--long for all)"
	@echo "make audit   known vulnerabilities of the locked dependencies, where advisories can be asked for"
	@echo "make setup   the set-up alone: .venv, and RabbitMQ if the machine has none"

setup:
	@bash deploy/setup.sh

demo: setup
	@$(BIN)/python -m deploy.demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist worksteal

up: setup
	@$(BIN)/crossdock up

faults: setup
	@$(BIN)/python -m tests.faults
	@$(BIN)/python -m tests.attacks

bench:
	@bash deploy/setup.sh bench
	@$(BIN)/python -m bench $(BENCH)

audit: setup
	@$(BIN)/python -m tests.attacks.audit
