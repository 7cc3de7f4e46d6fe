# 8 virtqueues per disk, one for each vCPU: Linux uses no more than that
# 2 IOThreads: one for every 4 vCPUs. A rule of thumb: if vq-top shows %CPU
#   near 100 for all of them, try more; if it is far below, fewer
# iothread0-1 on CPUs 32,34, on node 1, that of the vCPUs served; no vCPU is on
#   the same core
# An IOThread shares rings and data with its vCPUs; across nodes each access
#   takes longer
# The search begins behind the vCPUs, and CPU 0 comes last, so that VMs do not
#   pile up on the same CPUs. Which CPUs other VMs have is not known here: have
#   them avoided
vq_args=(
    -name vm1,debug-threads=on -pidfile vm1.pid
    -smp 8
    -object iothread,id=iothread0
    -object iothread,id=iothread1
    -blockdev '{"driver":"host_device","node-name":"drive0","filename":"/dev/nvme0n1","aio":"native","cache":{"direct":true}}'
    -device '{"driver":"virtio-blk-pci","id":"disk0","drive":"drive0","num-queues":8,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2,4,6]},{"iothread":"iothread1","vqs":[1,3,5,7]}]}'
)
# qemu-system-x86_64 -accel kvm "${vq_args[@]}" ...
# and when it runs: vq_pin
vq_tid() {
    grep -lxF "$1" /proc/"$(cat vm1.pid)"/task/*/comm | cut -d/ -f5
}
vq_pin() {
    taskset -pc 24 "$(vq_tid 'CPU 0/KVM')"
    taskset -pc 25 "$(vq_tid 'CPU 1/KVM')"
    taskset -pc 26 "$(vq_tid 'CPU 2/KVM')"
    taskset -pc 27 "$(vq_tid 'CPU 3/KVM')"
    taskset -pc 28 "$(vq_tid 'CPU 4/KVM')"
    taskset -pc 29 "$(vq_tid 'CPU 5/KVM')"
    taskset -pc 30 "$(vq_tid 'CPU 6/KVM')"
    taskset -pc 31 "$(vq_tid 'CPU 7/KVM')"
    taskset -pc 32 "$(vq_tid 'IO iothread0')"
    taskset -pc 34 "$(vq_tid 'IO iothread1')"
}
