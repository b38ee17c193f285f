# What a developer runs is what CI runs (.ci/run: make setup check test).
.DEFAULT_GOAL := help
.PHONY: help setup demo test check format docs fuzz chaos bench tiny-clip clean

# The first Python of 3.11 or later on the PATH; `make setup PYTHON=…` chooses another.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11 python,$(shell \
	$(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## Make .venv and install streamapp with all that its tests need

.venv/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "streamapp needs Python 3.11 or later; none is on the PATH."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[local,dev]'
	@touch $@

demo: setup ## Real pictures through a real worker on an embedded broker, in one command
	@$(BIN)/streamapp demo

test: setup ## Run the whole test suite
	$(BIN)/pytest -n 3 --dist loadfile

check: setup ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Mend what `make check` would complain of, where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## Write the generated tables and files anew
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/deployment.py
	PYTHONPATH=tests $(BIN)/python -m adversarial

fuzz: setup ## 20,000 damaged files through the decoder processes; one JSON line
	PYTHONPATH=tests $(BIN)/python -m adversarial.fuzz

chaos: setup ## Kill, stop and starve workers and the broker on real Kafka, about an hour; build/chaos.json
	PYTHONPATH=tests:tests/end_to_end $(BIN)/python -m chaos

bench: setup ## Measure: records, stream engine, models, end to end, warehouse; one JSON line each
	$(BIN)/python benchmarks/records.py
	$(BIN)/python benchmarks/nudenet_stages.py
	$(BIN)/python benchmarks/stream.py
	$(BIN)/python benchmarks/middle_finger.py
	$(BIN)/python benchmarks/models.py
	$(BIN)/python benchmarks/clip_pixels.py
	$(BIN)/python benchmarks/download.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/decode_isolation.py
	$(BIN)/python benchmarks/hostile.py
	$(BIN)/python benchmarks/head_of_line.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/end_to_end.py
	$(BIN)/python benchmarks/end_to_end.py --models nudenet,mfd,clip,coop --events 240
	PYTHONPATH=tests $(BIN)/python benchmarks/warehouse_views.py

tiny-clip: setup ## Train the tiny CLIP anew (npm, about an hour on 2 cores)
	$(BIN)/pip install --disable-pip-version-check resvg_py
	$(BIN)/python -m training.tiny_clip all

clean: ## Remove what was built, the virtual environment included
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
