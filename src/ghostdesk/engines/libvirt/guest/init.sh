#!/bin/bash
# The first process of a ghost that is a virtual machine: the least that a desktop needs, without a service manager.
# The guest agent is how the control plane reaches in; the machine ends when the screen or the guest agent does.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
vm=/opt/ghostdesk/vm
mount -t proc -o nosuid,nodev,noexec,hidepid=2 proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp
mkdir -p -m 1777 /tmp/.X11-unix /tmp/.ICE-unix
mkdir -p /run/ghost /run/user /run/lock /run/dbus
mkdir -p -m 0700 /run/user/1000 /home/user
chown 1000:1000 /run/user/1000 /home/user
chown 0:1000 /run/ghost
chmod 0750 /run/ghost
ip link set lo up
# udev would make these names.
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
  name=$(cat "$port/name" 2> /dev/null) && [ -n "$name" ] && ln -sf "../${port##*/}" "/dev/virtio-ports/$name"
done
mkdir -p /run/qemu
until ! ls /dev/virtio-ports/org.qemu.guest_agent.0 > /dev/null 2>&1; do
  qemu-ga --method=virtio-serial --path=/dev/virtio-ports/org.qemu.guest_agent.0 --statedir=/run --pidfile=/run/qemu-ga.pid
  sleep 1
done &
while true; do
  python3 "$vm/relay.py" /dev/virtio-ports/org.ghostdesk.agent /run/ghost/agent.sock
  sleep 1
done &
bash "$vm/screen.sh" > /run/screen.log 2>&1
sync
poweroff -f 2> /dev/null || busybox poweroff -f
