# What a fresh checkout needs: Python ≥ 3.11 and make. Everything else is set up by `make setup`, which all depend on.
.PHONY: help setup demo test up bench
.DEFAULT_GOAL := help
BIN := .venv/bin

help:
	@echo "make demo    the whole pipeline on this machine, one signed example of every event, where each came out"
	@echo "make test    lint, types, import rules and every test, against real PostgreSQL and RabbitMQ"
	@echo "make up      the whole pipeline in the foreground, until Ctrl-C"
	@echo "make bench   the benchmarks, side by side (BENCH=--quick for a minute or two, BENCH=--long for all)"
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
	$(BIN)/pytest

up: setup
	@$(BIN)/crossdock up

bench:
	@bash deploy/setup.sh bench
	@$(BIN)/python -m bench $(BENCH)
