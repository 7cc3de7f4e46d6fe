# SPDX-License-Identifier: GPL-2.0-or-later

BASE ?= auto

# Quiet unless V=1
ifeq ($(V),1)
export VQ_VERBOSE = 1
else
MAKEFLAGS += --no-print-directory
.SILENT:
endif

.PHONY: help demo check bench profile build stock dist check-series check-style clean

help:
	echo 'make demo          main job: build, boot a Linux guest, and show which'
	echo '                   IOThread serves which virtqueue, in four shapes'
	echo 'make check         tests: unit, qtest, QEMU'\''s own, scripts, guest'
	echo 'make bench         speed, ours against stock (BENCH="--quick": 1 min;'
	echo '                   A=FILE B=FILE: any two QEMU binaries)'
	echo 'make profile       where an IOThread'\''s time goes, stock and ours'
	echo 'make build         build/BASE/bin/qemu-system-x86_64, patched'
	echo 'make stock         build/BASE/stock/bin/qemu-system-x86_64, as it comes'
	echo 'make dist          the series for git am, under build/dist/'
	echo 'make check-series  every prefix of the series builds and works (long)'
	echo 'make check-style   checkpatch and shellcheck'
	echo 'make clean         remove build/'
	echo
	echo 'BASE=9.0|10.0|auto  which QEMU (auto: 9.0 if it can be had, else 10.0)'
	echo 'QEMU_SRC=DIR        its source tree; QEMU_TARBALL=FILE: qemu-9.0.0.tar.xz'
	echo 'BENCH="--scaling"   options for the bench (scripts/bench --help)'
	echo 'PROFILE="--only time" options for it (scripts/profile --help)'
	echo 'DEMO="--vcpus 4"    options for the demo (scripts/demo --help)'
	echo 'Your own tree:      scripts/apply DIR, scripts/apply --reverse DIR'

demo:
	scripts/install-deps
	base=$$(scripts/build-qemu $(BASE)) && scripts/demo --base $$base $(DEMO)

check:
	scripts/install-deps
	scripts/check $(BASE)

bench:
	scripts/install-deps
	base=$$(scripts/build-qemu --target tests/qtest/vq-load/vq-load $(BASE)) && \
	{ [ -n '$(A)' ] || scripts/build-qemu --stock $$base > /dev/null; } && \
	scripts/bench --base $$base $(if $(A),--a '$(A)') $(if $(B),--b '$(B)') $(BENCH)

profile:
	scripts/install-deps
	base=$$(scripts/build-qemu --target tests/qtest/vq-load/vq-load $(BASE)) && \
	scripts/build-qemu --stock $$base > /dev/null && \
	scripts/profile --base $$base $(PROFILE)

build:
	scripts/install-deps
	scripts/build-qemu $(BASE) > /dev/null

stock:
	scripts/install-deps
	scripts/build-qemu --stock $(BASE) > /dev/null

dist:
	scripts/dist $(BASE)

check-series:
	scripts/install-deps
	scripts/check-series $(BASE)

check-style:
	scripts/install-deps
	scripts/check-style $(BASE)

clean:
	rm -rf build
