# boot_systemd.sh HOME LAYER: boots systemd as process 1 of namespaces, on a root that is this machine's own / below the
# folder LAYER, where every change goes into memory. It shares the machine's network. HOME is an empty folder; its name
# is that of the control group.
set -eu
home=$1 layer=$2

if [ "${3-}" != inside ]; then
    # A control group of its own: `--cgroup` makes that the root of what systemd sees and fills.
    mount --make-rprivate /
    mount -t cgroup2 cgroup2 "$home"
    mkdir "$home/${home##*/}"
    echo $$ > "$home/${home##*/}/cgroup.procs"
    umount "$home"
    exec unshare --pid --fork --kill-child --cgroup --uts --ipc sh "$0" "$home" "$layer" inside
fi

mount -t tmpfs tmpfs "$home"
mkdir "$home/upper" "$home/work" "$home/root"
root=$home/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$home/upper,workdir=$home/work" "$root"

# What this machine starts, and what it may have of ours, is hidden: this one has the layer's units and files alone.
for folder in opt run tmp etc/reconciler etc/systemd/system etc/containers/systemd etc/init.d etc/rcS.d \
    usr/lib/systemd/system/sysinit.target.wants usr/lib/systemd/system/multi-user.target.wants \
    usr/lib/systemd/system/local-fs.target.wants usr/lib/systemd/system/timers.target.wants; do
    mkdir -p "$root/$folder"
    mount -t tmpfs -o mode=755 tmpfs "$root/$folder"
done
chmod 1777 "$root/tmp"
: > "$root/etc/fstab"
cp -a "$layer/." "$root/"
# Programs that do not stand where a unit with ProtectHome= sees them.
while read -r source target; do
    mkdir -p "$root/$target"
    mount --bind "$source" "$root/$target"
done < "$layer/binds"

mount -t proc proc "$root/proc"
# Nothing in there may change a setting of the kernel, which is that of the whole machine.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/old"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"

cd "$root"
pivot_root . old
umount -l /old
# Where mounts do not propagate, LoadCredential= gives nothing, and says nothing.
mount --make-rshared /
exec env -i container=other /usr/lib/systemd/systemd
