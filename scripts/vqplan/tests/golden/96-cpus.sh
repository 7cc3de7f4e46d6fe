# 32 virtqueues per disk, one for each vCPU: Linux uses no more than that
# 6 IOThreads: no more than can have a core without a vCPU near its vCPUs. A
#   rule of thumb: if vq-top shows %CPU near 100 for all of them, try more; if
#   it is far below, fewer
# iothread0-1 on CPUs 44,46, on node 1, that of the vCPUs served; no vCPU is on
#   the same core
# iothread2-5 on CPUs 88,90,92,94, on node 3, that of the vCPUs served; no vCPU
#   is on the same core
# An IOThread shares rings and data with its vCPUs; across nodes each access
#   takes longer
# Virtqueue i is taken for that of vCPU i, which is so in a guest with one NUMA
#   node; see /sys/block/vda/mq/*/cpu_list there
# The search begins behind the vCPUs, and CPU 0 comes last, so that VMs do not
#   pile up on the same CPUs. Which CPUs other VMs have is not known here: have
#   them avoided
# Add -blockdev for drive0, drive1, drive2: with aio=native and
#   cache.direct=on, or with aio=io_uring
vq_args=(
    -name vm1,debug-threads=on -pidfile vm1.pid
    -smp 32
    -object iothread,id=iothread0
    -object iothread,id=iothread1
    -object iothread,id=iothread2
    -object iothread,id=iothread3
    -object iothread,id=iothread4
    -object iothread,id=iothread5
    -device '{"driver":"virtio-blk-pci","id":"disk0","drive":"drive0","num-queues":32,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2,4,6,8,10,12,14]},{"iothread":"iothread1","vqs":[1,3,5,7,9,11,13,15]},{"iothread":"iothread2","vqs":[16,20,24,28]},{"iothread":"iothread3","vqs":[17,21,25,29]},{"iothread":"iothread4","vqs":[18,22,26,30]},{"iothread":"iothread5","vqs":[19,23,27,31]}]}'
    -device '{"driver":"virtio-blk-pci","id":"disk1","drive":"drive1","num-queues":32,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2,4,6,8,10,12,14]},{"iothread":"iothread1","vqs":[1,3,5,7,9,11,13,15]},{"iothread":"iothread2","vqs":[16,20,24,28]},{"iothread":"iothread3","vqs":[17,21,25,29]},{"iothread":"iothread4","vqs":[18,22,26,30]},{"iothread":"iothread5","vqs":[19,23,27,31]}]}'
    -device '{"driver":"virtio-blk-pci","id":"disk2","drive":"drive2","num-queues":32,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2,4,6,8,10,12,14]},{"iothread":"iothread1","vqs":[1,3,5,7,9,11,13,15]},{"iothread":"iothread2","vqs":[16,20,24,28]},{"iothread":"iothread3","vqs":[17,21,25,29]},{"iothread":"iothread4","vqs":[18,22,26,30]},{"iothread":"iothread5","vqs":[19,23,27,31]}]}'
)
# qemu-system-x86_64 -accel kvm "${vq_args[@]}" ...
# and when it runs: vq_pin
vq_tid() {
    grep -lxF "$1" /proc/"$(cat vm1.pid)"/task/*/comm | cut -d/ -f5
}
vq_pin() {
    taskset -pc 28 "$(vq_tid 'CPU 0/KVM')"
    taskset -pc 29 "$(vq_tid 'CPU 1/KVM')"
    taskset -pc 30 "$(vq_tid 'CPU 2/KVM')"
    taskset -pc 31 "$(vq_tid 'CPU 3/KVM')"
    taskset -pc 32 "$(vq_tid 'CPU 4/KVM')"
    taskset -pc 33 "$(vq_tid 'CPU 5/KVM')"
    taskset -pc 34 "$(vq_tid 'CPU 6/KVM')"
    taskset -pc 35 "$(vq_tid 'CPU 7/KVM')"
    taskset -pc 36 "$(vq_tid 'CPU 8/KVM')"
    taskset -pc 37 "$(vq_tid 'CPU 9/KVM')"
    taskset -pc 38 "$(vq_tid 'CPU 10/KVM')"
    taskset -pc 39 "$(vq_tid 'CPU 11/KVM')"
    taskset -pc 40 "$(vq_tid 'CPU 12/KVM')"
    taskset -pc 41 "$(vq_tid 'CPU 13/KVM')"
    taskset -pc 42 "$(vq_tid 'CPU 14/KVM')"
    taskset -pc 43 "$(vq_tid 'CPU 15/KVM')"
    taskset -pc 72 "$(vq_tid 'CPU 16/KVM')"
    taskset -pc 73 "$(vq_tid 'CPU 17/KVM')"
    taskset -pc 74 "$(vq_tid 'CPU 18/KVM')"
    taskset -pc 75 "$(vq_tid 'CPU 19/KVM')"
    taskset -pc 76 "$(vq_tid 'CPU 20/KVM')"
    taskset -pc 77 "$(vq_tid 'CPU 21/KVM')"
    taskset -pc 78 "$(vq_tid 'CPU 22/KVM')"
    taskset -pc 79 "$(vq_tid 'CPU 23/KVM')"
    taskset -pc 80 "$(vq_tid 'CPU 24/KVM')"
    taskset -pc 81 "$(vq_tid 'CPU 25/KVM')"
    taskset -pc 82 "$(vq_tid 'CPU 26/KVM')"
    taskset -pc 83 "$(vq_tid 'CPU 27/KVM')"
    taskset -pc 84 "$(vq_tid 'CPU 28/KVM')"
    taskset -pc 85 "$(vq_tid 'CPU 29/KVM')"
    taskset -pc 86 "$(vq_tid 'CPU 30/KVM')"
    taskset -pc 87 "$(vq_tid 'CPU 31/KVM')"
    taskset -pc 44 "$(vq_tid 'IO iothread0')"
    taskset -pc 46 "$(vq_tid 'IO iothread1')"
    taskset -pc 88 "$(vq_tid 'IO iothread2')"
    taskset -pc 90 "$(vq_tid 'IO iothread3')"
    taskset -pc 92 "$(vq_tid 'IO iothread4')"
    taskset -pc 94 "$(vq_tid 'IO iothread5')"
}
