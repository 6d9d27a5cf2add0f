# The only commands a newcomer needs. `make demo` and `make test` set the environment up first.

.PHONY: help setup demo picture test lint fuzz bench soak models docs clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
CONSTRAINTS := $(VENV)/constraints.txt
# With a ROS 2 environment sourced, its rclpy and messages are used; elsewhere real rclpy comes as wheels.
ifdef ROS_DISTRO
VENV_FLAGS := --system-site-packages
EXTRAS := test,lint
# ROS's packages (cv_bridge) are compiled for the system's NumPy: a newer one in .venv would end whoever imports them.
KEEP_NUMPY := $(PYTHON) -c 'import numpy; print(f"numpy=={numpy.__version__}")'
else
EXTRAS := test,lint,ros
KEEP_NUMPY := true
endif

BAG ?=
COLOR ?=
DEPTH ?=
LIVE ?= --live
OUT ?= out/demo
MODEL ?= road_student
# Our own processes must find the profile and each other, and must not meet other ROS graphs in the building.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## .venv with everything; the other targets call it

$(STAMP): setup.py package.xml training/pyproject.toml
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	$(KEEP_NUMPY) >$(CONSTRAINTS)
	$(BIN)/python -m pip install --quiet --upgrade pip
	# setuptools warns of folders that may shadow an editable package: here they are the package.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) -e '.[$(EXTRAS)]' \
		-e 'training[detection]'
	touch $(STAMP)

# A bag in, masks on topics, a report out: BAG=… takes your own, otherwise a synthetic drive is rendered. COLOR=… and
# DEPTH=… name its topics where they cannot be found; LIVE= scores the model without the node.
demo: setup ## a bag in, masks on topics, a report in out/demo; BAG=path takes your own
ifeq ($(BAG),)
	rm -rf $(OUT) && mkdir -p $(OUT)
	$(BIN)/python -m road_kd_seg.synthetic --out $(OUT)/bag
	$(BIN)/replay_eval $(OUT)/bag --live --model $(MODEL) --out $(OUT)
else
	$(BIN)/replay_eval "$(BAG)" $(LIVE) --model $(MODEL) --out $(OUT) \
		$(if $(COLOR),--color-topic $(COLOR)) $(if $(DEPTH),--depth-topic $(DEPTH))
endif

picture: setup ## the README's pictures, from what make demo left; needs Chromium
	$(BIN)/python docs/draw_drive.py $(OUT) docs/images/drive.webp
	$(BIN)/python docs/draw_report.py $(OUT) docs/images/report.webp

test: lint ## lint, types and every test
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadgroup

lint: setup ## style, spelling, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell .
	! git grep -n -i -w -E -f .ci/retired-phrases.txt -- . ':!.ci'
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup ## 10,000 damaged inputs; FUZZ_SEED=N draws others
	FUZZ_CASES=10000 $(BIN)/python -m pytest -q test/fuzz

bench: setup ## every engine, the papers' networks, the naive way and the real node, in one run
	mkdir -p out && $(BIN)/seg_benchmark --model $(MODEL) --peers --node 10 15 30 --json out/bench.json

soak: setup ## half an hour: 10,800 pairs (SOAK_PAIRS=…), twenty kills, ten times the capacity; potholes measured and counted
	$(BIN)/python -m pytest -s -m soak test/ros/test_soak.py test/test_obstacles.py test/test_obstacle_tracker.py \
		test/test_smoothing.py

models: setup ## both RoadLite students from scratch, side by side, into out/models; again: resume
	$(BIN)/python -m pip install --quiet -e '.[pretrained]'
	$(BIN)/road-kd synth out/synthetic --scenes 1600
	$(BIN)/road-kd synth out/synthetic --scenes 800 --variety
	$(BIN)/road-kd synth out/synthetic --scenes 60 --first-seed 1000000
	$(BIN)/road-kd synth out/synthetic --scenes 60 --first-seed 1000000 --variety
	$(MAKE) --no-print-directory --jobs 2 out/models/road_student out/models/road_student_rgb

# Each chain of recipes has half of the CPUs, and keeps freed memory: a quarter faster on a CPU.
TRAIN = OMP_NUM_THREADS=$$(( ($$(nproc) + 1) / 2 )) MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=8589934592 \
	$(BIN)/road-kd train --config training/recipes

out/models/road_student:
	for stage in stage1 stage2 stage3; do $(TRAIN)/road_student_$$stage.yaml || exit 1; done
	$(TRAIN)/road_student.yaml
	$(BIN)/road-kd export runs/road_student --average runs/road_student_stage3 --share 0.7 --name road_student --int8 --out $@

out/models/road_student_rgb:
	$(TRAIN)/road_teacher_rgb.yaml
	$(TRAIN)/road_student_rgb.yaml
	$(BIN)/road-kd export runs/road_student_rgb --name road_student_rgb --int8 --out $@

docs: setup ## the site, into site/
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

clean: ## what was built; .venv and data stay
	rm -rf out site build install log .pytest_cache .mypy_cache .ruff_cache
