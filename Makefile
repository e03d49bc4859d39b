# clip-rescue: `make help` lists the targets.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all fuzz lint runtime-check arm64 cortex-m clean FORCE

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

BUNDLE := demo/pocket-rpi.tflite
REPORT := demo/report
SHEET := demo/contact-sheet.png
BUILT := demo/.built
SOURCES := $(shell find convert calibration targets tflite_runtime_app -type f -not -path "*/__pycache__/*")
MODEL := $(filter-out %/README.md,$(wildcard models/pocket/*))
# The stamp counts only while both results are there.
MISSING := $(if $(and $(wildcard $(BUNDLE)),$(wildcard $(REPORT)/index.html)),,FORCE)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED)  ## make .venv (3.7 GB, 2 to 6 minutes; later runs reuse it)

$(INSTALLED): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "setup: $(PYTHON) not found; name a Python 3.11: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "setup: installing the pinned workshop environment (torch, tensorflow, ...) into $(VENV): about 3.7 GB, about 2 to 6 minutes"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python tools/check_torch.py
	$(BIN)/python -m pip install -c constraints.txt -e '.[convert,dev]'
	$(BIN)/python -m pip check
	@touch $@

$(BUILT): $(INSTALLED) $(SOURCES) $(MODEL) $(MISSING)
	@mkdir -p demo
	$(BIN)/convert build --target rpi --out $(BUNDLE) --report $(REPORT) --force
	@test -f $(BUNDLE) && test -f $(REPORT)/index.html || { echo "demo: the build left no $(BUNDLE) or no $(REPORT)/index.html" >&2; exit 1; }
	@touch $@

demo: $(BUILT)  ## build the pocket model (when something changed), classify the photographs, print where the results lie
	@$(BIN)/classify $(BUNDLE) models/photographs --sheet $(SHEET)
	@printf '%s\n' "$(CURDIR)/$(BUNDLE)" "$(CURDIR)/$(REPORT)/index.html" "$(CURDIR)/$(SHEET)"

test: $(INSTALLED)  ## the tests, without the slow ones
	$(BIN)/pytest

test-all: $(INSTALLED)  ## all tests
	$(BIN)/pytest -m ""

fuzz: $(INSTALLED)  ## 25,000 damaged and hostile files, and where each one ends (a quarter of an hour)
	$(BIN)/python -m tests.tflite_runtime_app.admission.fuzz

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

runtime-check: $(BUILT)  ## install the board's half alone in clean environments and classify there
	$(BIN)/python tools/check_runtime.py --python "$(PYTHON)" $(BUNDLE)

arm64: $(BUILT)  ## the board's half on emulated Arm processors (a quarter of an hour; ARM64=--short for less)
	$(BIN)/python -m tools.arm64 $(ARM64) $(BUNDLE)

cortex-m: $(BUILT)  ## the microcontrollers' C on emulated Cortex-M processors (a minute, and 780 MB of tools the first time)
	$(BIN)/python -m tools.cortex_m $(BUNDLE)

clean:  ## remove what was built and the caches; .venv stays (rm -r .venv removes it)
	rm -rf demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache
