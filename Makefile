# `make demo` and `make test` do all the set-up: a virtual environment with exactly what constraints.txt pins.
PYTHON ?= python3
PY := .venv/bin/python

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

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit(f"Python 3.11 or 3.12 is needed, not {v[0]}.{v[1]}; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

clean:
	rm -rf .venv build out *.egg-info
