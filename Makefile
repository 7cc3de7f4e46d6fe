# SPDX-License-Identifier: GPL-2.0-or-later

BASE ?= auto

# Quiet unless V=1
ifeq ($(V),1)
export VQ_VERBOSE = 1
else
MAKEFLAGS += --no-print-directory
.SILENT:
endif

.PHONY: help demo contention check faults fuzz sanitize soak soak-hotplug soak-guest bench profile build stock dist check-series check-style clean

help:
	echo 'make demo          main job: build, boot a Linux guest, and show which'
	echo '                   IOThread serves which virtqueue, in four shapes'
	echo 'make contention    how much vCPUs wait for the big QEMU lock, by who serves'
	echo '                   the disk'
	echo 'make check         tests: unit, qtest, QEMU'\''s own, scripts, guest'
	echo 'make faults        the test of each known fault, on stock and on ours'
	echo 'make fuzz          a disk under QEMU'\''s fuzzer with ASan and UBSan, 7 min, after'
	echo '                   building it with clang (FUZZ="--seconds 600": longer)'
	echo 'make sanitize      the same tests with ASan, UBSan and TSan (long: builds'
	echo '                   QEMU twice more)'
	echo 'make soak          virtqueues moved 20,000 times under verified load while'
	echo '                   all sorts of things happen, long (VQ_SOAK_REQUESTS=N,'
	echo '                   VQ_SOAK_MOVES=N: how long)'
	echo 'make soak-hotplug  10,000 rounds of plugging and unplugging disks, 3 min'
	echo 'make soak-guest    virtqueues moved under a Linux guest whose fio verifies'
	echo '                   its data, 3 min (SOAK_GUEST="--seconds 600": longer)'
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
	echo 'FAULTS="--only 12"  options for make faults (scripts/faults --help)'
	echo 'FUZZ="--config packed" options for it (scripts/fuzz --help)'
	echo 'PROFILE="--seconds 5" options for it (scripts/profile --help)'
	echo 'DEMO="--vcpus 4"    options for the demo (scripts/demo --help)'
	echo 'CONTENTION="--quick" options for it (scripts/contention --help)'
	echo 'Your own tree:      scripts/apply DIR, scripts/apply --reverse DIR'

demo:
	scripts/install-deps
	base=$$(scripts/build-qemu $(BASE)) && scripts/demo --base $$base $(DEMO)

contention:
	scripts/install-deps
	base=$$(scripts/build-qemu $(BASE)) && \
	scripts/contention --base $$base $(CONTENTION)

check:
	scripts/install-deps
	scripts/check $(BASE)

faults:
	scripts/install-deps
	base=$$(scripts/build-qemu $$(scripts/faults --targets qtest) \
		$$(scripts/faults --targets unit) $(BASE)) && \
	scripts/build-qemu --stock $$base > /dev/null && \
	scripts/prepare-stock-tests $$base && \
	scripts/build-qemu --dir $${VQ_BUILD_DIR:-$(CURDIR)/build}/$$base/stock-tests --only \
		$$(scripts/faults --targets unit) $$base > /dev/null && \
	scripts/faults --base $$base $(FAULTS)

fuzz:
	scripts/install-deps
	scripts/fuzz $(FUZZ) $(BASE)

sanitize:
	scripts/install-deps
	scripts/check-sanitizers $(BASE)

soak:
	scripts/install-deps
	base=$$(scripts/build-qemu --target tests/qtest/vq-soak-remap-test $(BASE)) && \
	cd $${VQ_BUILD_DIR:-$(CURDIR)/build}/$$base && \
	QTEST_QEMU_BINARY=$$PWD/bin/qemu-system-x86_64 \
		obj/tests/qtest/vq-soak-remap-test --tap -m slow -p /x86_64/vq-soak-remap/long

soak-hotplug:
	scripts/install-deps
	base=$$(scripts/build-qemu --target tests/qtest/vq-soak-hotplug-test $(BASE)) && \
	cd $${VQ_BUILD_DIR:-$(CURDIR)/build}/$$base && \
	QTEST_QEMU_BINARY=$$PWD/bin/qemu-system-x86_64 \
		obj/tests/qtest/vq-soak-hotplug-test --tap -m slow -p /x86_64/vq-soak-hotplug/long

soak-guest:
	scripts/install-deps
	base=$$(scripts/build-qemu $(BASE)) && \
	scripts/soak-guest --base $$base $(SOAK_GUEST)

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
