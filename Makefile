# `make demo` and `make test` do all the set-up: a virtual environment with exactly what constraints.txt pins.
PYTHON ?= python3
PY := .venv/bin/python
INSTALL = $(PY) -m pip --disable-pip-version-check install --constraint constraints.txt --editable '.[dev,bench]'
SIZE = It takes minutes: 1 GB to download and 4 GB on disk where pip is offered torch for CPUs, 3.6 GB and 8 GB with the usual torch, for GPUs.

.PHONY: demo test faults fuzz lint docs benchmarks lock clean

demo: .venv/installed
	$(PY) -m jobs.transcribe configs/demo.yaml
	$(PY) -m jobs.export configs/demo.yaml
	@head -n 11 out/demo/_export/srt/long/interview.srt

test: .venv/installed lint
	$(PY) -m pytest

faults: .venv/installed
	$(PY) tests/campaigns/faults.py --runs 50

fuzz: .venv/installed
	$(PY) tests/campaigns/fuzz.py --keep build/fuzz

docs: .venv/installed
	$(PY) -m jobs.cli.config_page
	$(PY) -m jobs.cli.formats_page

benchmarks: .venv/installed
	$(PY) -m actors.benchmark.results docs/benchmarks docs/benchmarks.md

# Pins that still fit are kept; LOCK=--upgrade takes the newest of everything.
lock: .venv/installed
	mkdir -p build
	{ grep '^#' constraints.txt; .venv/bin/uv pip compile --quiet $(LOCK) --no-header --no-annotate $(if $(LOCK),,--constraint constraints.txt) \
		--extra dev --extra bench --python $(PY) pyproject.toml; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

lint: .venv/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# On a terminal pip shows its bars. In a log, which they would fill, it names the packages of 10 MB and more.
.venv/installed: SHELL := bash
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit(f"Python 3.11 or 3.12 is needed, not {v[0]}.{v[1]}; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@echo "Installing $$(grep -c == constraints.txt) packages in .venv, once. $(SIZE)"
	@set -o pipefail; if [ -t 1 ]; then $(INSTALL); else $(INSTALL) | sed -un \
		-e 's/.*Downloading \([^ ]*\) (\([0-9]\{2,\}[.0-9]* [MG]B\)).*/downloading \1, \2 …/p' \
		-e 's/^Installing collected packages.*/downloaded; unpacking, a minute or more without a word …/p'; fi
	@echo "Installed: $$(du -sh .venv | cut -f1) in .venv"
	touch $@

clean:
	rm -rf .venv build out *.egg-info
