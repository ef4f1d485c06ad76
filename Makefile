# SPDX-License-Identifier: GPL-2.0-or-later
# One line each, no logic: what a target does is in the script it calls. `tests/setup` makes .venv and installs what is missing.
.PHONY: help setup demo test test-vm test-matrix test-vm-lab sim diff attack fuzz lint bench package feed release package-sdk image clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## the virtual environment and the programs that the lab needs
	@tests/setup

demo: setup ## the main job, before your eyes: stock router and vpnpt, side by side (ARGS="--help" for options)
	@.venv/bin/python -m tests.lab.demo $(ARGS)

test: setup lint ## everything that must pass
	@tests/setup pages
	@tests/suite $(ARGS)

test-vm: setup ## real VPN programs, stock router beside vpnpt, in an emulated machine with Debian's kernel (ARGS="--help" for options)
	@tests/vm/peers/run $(ARGS)

test-matrix: setup ## the product on other machines, kernels, versions of nft and Python (ARGS="TARGET... | --help")
	@tests/vm/matrix/run $(ARGS)

test-vm-lab: setup ## the lab, software flow offload, VLAN and PPPoE (with OPENWRT_ROOT), on that kernel
	@tests/vm/run --timeout 7200 -- .venv/bin/python -m pytest -c tests/pytest.ini tests/lab tests/wire tests/golden tests/vm \
		tests/openwrt/test_network.py $(ARGS)

attack: setup ## what attackers try, stock router beside vpnpt where it matters (ARGS="--long" for whole floods, "--run-pending")
	@.venv/bin/python -m pytest -c tests/pytest.ini tests/attack $(ARGS)

fuzz: setup ## spoiled input for every decoder, the UCI parser, the control socket and the drivers (ARGS="--minutes 60")
	@.venv/bin/python -m tests.fuzz $(ARGS)

sim: setup ## thousands of clients against the engine (ARGS="--help" for options)
	@.venv/bin/python -m tests.sim $(ARGS)

diff: setup ## what a stock router delivers and ours does not, in made-up networks (ARGS="--minutes 60", --help)
	@.venv/bin/python -m tests.diff $(ARGS)

lint: setup ## ruff, mypy, shellcheck
	@tests/lint

package: ## dist/*.ipk, without an SDK, the same to the byte each time; *.apk where apk-tools 3 is installed
	@python3 -m buildroot.build package

feed: ## the packages, and signed indexes that make dist/ a feed for opkg and apk (FEED_KEYS=directory of the keys)
	@python3 -m buildroot.build feed

release: ## dist/vpnpt-VERSION.tar.gz for openwrt/packages, the same to the byte each time
	@python3 -m buildroot.release

package-sdk: ## .ipk or .apk by the official SDK, in Docker (RELEASE=24.10|25.12 TARGET=x86-64)
	@buildroot/sdk/build "$(RELEASE)" "$(TARGET)"

image: ## a whole firmware image with vpnpt in it, in Docker (RELEASE= TARGET= PROFILE=)
	@buildroot/sdk/image "$(RELEASE)" "$(TARGET)" "$(PROFILE)"

clean: ## removes what the other targets made
	@rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis

bench: setup ## figures beside a stock router, in one run (wants a C compiler)
	@.venv/bin/python -m tests.bench $(ARGS)
