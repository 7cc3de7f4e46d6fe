# 8 virtqueues per disk, one for each vCPU: Linux uses no more than that
# 1 IOThread: no more than can have a core without a vCPU near its vCPUs. A
#   rule of thumb: if vq-top shows %CPU near 100 for all of them, try more; if
#   it is far below, fewer
# iothread0 on CPUs 0-7, all that there are on node 0: too few of them are
#   free, and the scheduler knows which one is idle
# Add -blockdev for drive0: with aio=native and cache.direct=on, or with
#   aio=io_uring
vq_args=(
    -name vm1,debug-threads=on -pidfile vm1.pid
    -smp 8
    -object iothread,id=iothread0
    -device '{"driver":"virtio-blk-pci","id":"disk0","drive":"drive0","num-queues":8,"iothread":"iothread0"}'
)
# qemu-system-x86_64 -accel kvm "${vq_args[@]}" ...
# and when it runs: vq_pin
vq_tid() {
    grep -lxF "$1" /proc/"$(cat vm1.pid)"/task/*/comm | cut -d/ -f5
}
vq_pin() {
    taskset -pc 0-7 "$(vq_tid 'CPU 0/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 1/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 2/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 3/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 4/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 5/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 6/KVM')"
    taskset -pc 0-7 "$(vq_tid 'CPU 7/KVM')"
    taskset -pc 0-7 "$(vq_tid 'IO iothread0')"
}
