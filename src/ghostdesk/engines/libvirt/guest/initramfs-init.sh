#!/bin/busybox sh
# The first process of the small first root: load the drivers, find the disk, go on there.
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
  /bin/busybox insmod "/modules/$module" || echo "ghostdesk: $module was not loaded"
done < /modules/order
tries=0
while [ ! -b /dev/vda ] && [ "$tries" -lt 200 ]; do
  /bin/busybox sleep 0.05
  tries=$((tries + 1))
done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root || exec /bin/busybox poweroff -f
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /sys
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /opt/ghostdesk/vm/init.sh
