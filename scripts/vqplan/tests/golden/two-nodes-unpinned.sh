# 8 virtqueues per disk, one for each vCPU: Linux uses no more than that
# 2 IOThreads: one for every 4 vCPUs. A rule of thumb: if vq-top shows %CPU
#   near 100 for all of them, try more; if it is far below, fewer
# iothread0-1 not pinned: it is not known which CPUs are near the vCPUs, as
#   these are not pinned either; say where they are, or name CPUs or a node for
#   the IOThreads
# Add -blockdev for drive0, drive1: with aio=native and cache.direct=on, or
#   with aio=io_uring
vq_args=(
    -name vm1,debug-threads=on -pidfile vm1.pid
    -smp 8
    -object iothread,id=iothread0
    -object iothread,id=iothread1
    -device '{"driver":"virtio-blk-pci","id":"disk0","drive":"drive0","num-queues":8,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2,4,6]},{"iothread":"iothread1","vqs":[1,3,5,7]}]}'
    -device '{"driver":"virtio-blk-pci","id":"disk1","drive":"drive1","num-queues":8,"iothread-vq-mapping":[{"iothread":"iothread0","vqs":[0,2,4,6]},{"iothread":"iothread1","vqs":[1,3,5,7]}]}'
)
# qemu-system-x86_64 -accel kvm "${vq_args[@]}" ...
