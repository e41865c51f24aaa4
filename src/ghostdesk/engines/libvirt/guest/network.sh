#!/bin/bash
# network.sh ADDRESS: a network card has come; ask the network for the rest (DHCP).
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
for _ in $(seq 50); do
  for card in /sys/class/net/*; do
    if [ "$(cat "$card/address" 2> /dev/null)" = "$1" ]; then
      ip link set "${card##*/}" up
      exec busybox udhcpc -i "${card##*/}" -b -S -s /opt/ghostdesk/vm/lease.sh
    fi
  done
  sleep 0.2
done
exit 1
