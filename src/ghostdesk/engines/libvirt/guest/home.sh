#!/bin/bash
# home.sh: put the user's home, which the host has attached, where the session looks for it.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
grep -q ' /home 9p ' /proc/mounts && exit 0
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,nosuid,nodev home /home
