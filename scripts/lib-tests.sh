# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
#
# Which tests there are, and how to run and count them. To be sourced after
# lib.sh.

# Ours, in tests/unit and tests/qtest
unit=(
    test-vq-plan test-vq-mapping-fuzz test-vq-state test-block-multi-iothread
    test-throttle-multi-iothread test-graph-multi-iothread test-fdmon-multi-thread
    test-aio-polling
)
qtests=(
    virtio-blk-vq-mapping-test virtio-blk-lifetime-test virtio-blk-hotplug-test
    virtio-blk-start-stop-test virtio-blk-migration-test
    virtio-blk-hostile-test virtio-blk-queues-test virtio-blk-monitor-test
    virtio-blk-own-iothreads-test virtio-blk-bad-input-test
    virtio-blk-fast-path-test virtio-blk-fast-path-changes-test
    virtio-blk-fast-path-stats-test virtio-blk-guest-ram-test
    virtio-blk-jobs-test virtio-blk-remap-test virtio-blk-remap-slow-test
    virtio-blk-own-remap-test virtio-blk-restart-test
    virtio-blk-late-resize-test virtio-bus-master-test
    virtio-device-memory-test virtio-limits-test virtio-nested-pop-test
    virtio-blk-states-test virtio-error-test block-multi-iothread-test
    vq-load-test vq-queues-load-test virtio-blk-fast-path-qemu-io-test
    virtio-blk-device-ram-test block-ide-trim-test vq-remap-load-test
    vq-soak-hotplug-test vq-soak-remap-test virtio-conformance-test
)
# QEMU's own of what the series touches; the devices are those of qos-test
upstream_unit=(test-qobject-input-visitor test-forward-visitor test-bdrv-drain)
upstream_devices=(virtio-blk-pci virtio-scsi-pci)

# Add the tests that only base $1 has
tests_of_base() {
    case $1 in
        10.0) qtests+=(virtio-scsi-vq-mapping-test) ;;
    esac
}

# Options for build-qemu that build all of the above
test_targets() {
    printf -- '--target\ntests/unit/%s\n' "${unit[@]}" "${upstream_unit[@]}"
    printf -- '--target\ntests/qtest/%s\n' "${qtests[@]}" qos-test vq-load/vq-load
}

# Tests that may be skipped, and why: where, and a pattern for what they print.
# A skip that is not here has failed.
expected_skips=(
    'no_stock|Qemu.test_stock: *# SKIP no stock QEMU is built'
    'no_tracepoints|Program.test_watch: *# SKIP *'
    'no_direct_io /dev/shm|*# SKIP no *O_DIRECT*'
    'outside_ci|Schemas.*# SKIP no schemas of libvirt: *'
)

# make check builds none
no_stock() { [ ! -x "$build/$base/stock/bin/qemu-system-x86_64" ]; }

# The kernel does not let perf trace, as in a container
no_tracepoints() {
    ! perf record -q -a -e sched:sched_switch -e syscalls:sys_enter_futex \
        -o - true > /dev/null 2>&1
}

# Linux before 6.6 has none on tmpfs
no_direct_io() {
    ! dd if=/dev/zero of="$1/vq-check.$$" bs=4096 count=1 oflag=direct \
        2> /dev/null || ! rm "$1/vq-check.$$"
}

# A machine without a network has what it has
outside_ci() { [ -z "${VQ_CI-}" ]; }

# Have run-tap expect them, where the first word of a line says so
expect_skips() {
    local line condition
    VQ_EXPECTED_SKIPS=
    for line in "${expected_skips[@]}"; do
        read -ra condition <<< "${line%%|*}"
        ! "${condition[@]}" || VQ_EXPECTED_SKIPS+=${line#*|}$'\n'
    done
    export VQ_EXPECTED_SKIPS
}

passed=0 failed=0 skipped=0 failures=

# Run a test and count: add NAME COMMAND...; its last line is "N passed, ...",
# maybe with "; REMARK". Its stderr is kept in $logs/err and shown if it fails,
# there and once more by sum_up: of a long log, people are shown the end.
add() {
    local name=$1 result
    local pattern='^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?(; .*)?$'
    shift
    printf '%-44s ' "$name"
    result=$("$@" 2> "$logs/err" | tail -n 1) || :
    if ! [[ $result =~ $pattern ]]; then
        result="0 passed, 1 failed"
        [[ $result =~ $pattern ]]
    fi
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    echo "$result"
    if [ "${BASH_REMATCH[2]}" != 0 ]; then
        sed 's/^/    /' "$logs/err"
        failures+="failed: $name"$'\n'"$(tail -n 12 "$logs/err" | sed 's/^/    /')"$'\n'
    fi
}

# Print what failed, and the sum; false if anything failed
sum_up() {
    echo
    printf '%s' "$failures"
    if [ "$skipped" = 0 ]; then
        echo "$passed passed, $failed failed"
    else
        echo "$passed passed, $failed failed, $skipped skipped"
    fi
    [ "$failed" = 0 ]
}
