# hold_podman.sh: makes of new namespaces a place where Podman runs without systemd: only the newer control groups, and
# nothing of what the machine's own Podman has running. It stays until it is killed; all that runs in there ends with it.
set -eu
mount --make-rprivate /
umount --recursive --lazy /sys/fs/cgroup || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for folder in /dev/shm /run/libpod /run/crun /run/containers; do
    mkdir -p "$folder"
    mount -t tmpfs tmpfs "$folder"
done
echo ready
# It has to reap what the containers' processes leave behind.
while :; do
    sleep 1000 &
    wait $!
done
