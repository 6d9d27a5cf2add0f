# The only commands a newcomer needs. `make demo` and `make test` set the environment up first.

.PHONY: setup demo test lint bench clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
# With a ROS 2 environment sourced, its rclpy and messages are used; elsewhere real rclpy comes as wheels.
ifdef ROS_DISTRO
VENV_FLAGS := --system-site-packages
EXTRAS := test,lint
else
EXTRAS := test,lint,ros
endif

BAG ?=
COLOR ?=
DEPTH ?=
LIVE ?= --live
OUT ?= out/demo
MODEL ?= road_student
# Our own processes must find the profile and each other, and must not meet other ROS graphs in the building.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

setup: $(STAMP)

$(STAMP): setup.py package.xml training/pyproject.toml
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[$(EXTRAS)]' -e training
	touch $(STAMP)

# A bag in, masks on topics, a report out: BAG=… takes your own, otherwise a synthetic drive is rendered. COLOR=… and
# DEPTH=… name its topics where they cannot be found; LIVE= scores the model without the node.
demo: setup
ifeq ($(BAG),)
	rm -rf $(OUT) && mkdir -p $(OUT)
	$(BIN)/python -m road_kd_seg.synthetic --out $(OUT)/bag
	$(BIN)/replay_eval $(OUT)/bag --live --model $(MODEL) --out $(OUT)
else
	$(BIN)/replay_eval "$(BAG)" $(LIVE) --model $(MODEL) --out $(OUT) \
		$(if $(COLOR),--color-topic $(COLOR)) $(if $(DEPTH),--depth-topic $(DEPTH))
endif

test: lint
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadgroup

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell .
	! git grep -n -i -w -E -f .ci/retired-phrases.txt -- . ':!.ci'
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	mkdir -p out && $(BIN)/seg_benchmark --model $(MODEL) --json out/bench.json

clean:
	rm -rf out build install log .pytest_cache .mypy_cache .ruff_cache
