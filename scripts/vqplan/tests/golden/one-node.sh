# 4 virtqueues per disk, one for each vCPU: Linux uses no more than that
# 2 IOThreads: two, because there are several disks. A rule of thumb: if vq-top
#   shows %CPU near 100 for all of them, try more; if it is far below, fewer
# iothread0-1 on CPUs 6,7, on node 0, that of the vCPUs served
# The search begins behind the vCPUs, and CPU 0 comes last, so that VMs do not
#   pile up on the same CPUs. Which CPUs other VMs have is not known here: have
#   them avoided
# Add -blockdev for drive0, drive1: with aio=native and cache.direct=on, or
#   with aio=io_uring
vq_args=(
    -name vm1,debug-threads=on -pidfile vm1.pid
    -smp 4
    -object iothread,id=iothread0
    -object iothread,id=iothread1
    -device '{"driver":"virtio-blk-pci","id":"disk0","drive":"drive0","num-queues":4,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2]},{"iothread":"iothread1","vqs":[1,3]}]}'
    -device '{"driver":"virtio-blk-pci","id":"disk1","drive":"drive1","num-queues":4,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2]},{"iothread":"iothread1","vqs":[1,3]}]}'
)
# qemu-system-x86_64 -accel kvm "${vq_args[@]}" ...
# and when it runs: vq_pin
vq_tid() {
    grep -lxF "$1" /proc/"$(cat vm1.pid)"/task/*/comm | cut -d/ -f5
}
vq_pin() {
    taskset -pc 2 "$(vq_tid 'CPU 0/KVM')"
    taskset -pc 3 "$(vq_tid 'CPU 1/KVM')"
    taskset -pc 4 "$(vq_tid 'CPU 2/KVM')"
    taskset -pc 5 "$(vq_tid 'CPU 3/KVM')"
    taskset -pc 6 "$(vq_tid 'IO iothread0')"
    taskset -pc 7 "$(vq_tid 'IO iothread1')"
}
