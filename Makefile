# `make demo` and `make test` are all a newcomer needs; both set up what they use.
PACKAGES := fuse3 libfuse3-dev pkg-config python3-venv python3-dev gcc attr acl rsync sqlite3 git strace podman runc fuse-overlayfs python3 iproute2 util-linux
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1

# Installs those of the packages $(1) that are missing.
define install
	missing=""; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; fi
endef

.PHONY: help setup demo test quick lint bench soak clean

help:
	@echo "make demo    set up, then show the main job"
	@echo "make test    set up, then run all tests"
	@echo "make quick   the tests of every day (under 5 minutes)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   measure against ext4, fuse-overlayfs, rclone, weed mount and s3fs; large volumes"
	@echo "make soak    long runs: kills, merges, many hosts, a store that fails"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml Makefile
	@$(call install,$(PACKAGES))
	@$(call install,libpython$$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')-testsuite)
	@python=$$(sh .ci/python) && echo "python: $$python" && \
	  { [ -x $(BIN)/python ] || $$python -m venv $(VENV); }
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[test,progress]'
	@touch $@

demo: setup
	@$(BIN)/python bench/demo.py

test: setup lint
	$(BIN)/python -m pytest -q

quick: setup
	$(BIN)/python -m pytest -q -m "not slow"

lint: setup
	$(BIN)/ruff check volfs cli tests bench examples
	$(BIN)/mypy

bench: setup
	@$(call install,s3fs)
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m bench.operations
	$(BIN)/python -m bench.scale
	$(BIN)/python -m bench.sdk
	$(BIN)/python -m bench.remote

soak: setup
	$(BIN)/python -m tests.tree.merge.fuzz 50000
	$(BIN)/python -m tests.mount.kills 200
	$(BIN)/python -m tests.store.damage
	$(BIN)/python -m tests.format.fuzz 1000000
	$(BIN)/python -m tests.faults.kill_points
	$(BIN)/python -m tests.faults.kill_requests
	$(BIN)/python -m tests.faults.power_loss
	$(BIN)/python -m tests.faults.failing_calls
	$(BIN)/python -m tests.mount.hosts 240
	$(BIN)/python -m tests.mount.load 120
	$(BIN)/python -m tests.posix.table.run
	$(BIN)/python -m tests.posix.sequences 3000
	$(BIN)/python -m tests.mount.exerciser 1000000
	$(BIN)/python -m tests.mount.stress 120
	$(BIN)/python -m tests.mount.cpython
	$(BIN)/python -m tests.mount.away 300 2048
	$(BIN)/python -m tests.store.fault_table 300

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
