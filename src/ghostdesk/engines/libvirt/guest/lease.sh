#!/bin/bash
# Called by udhcpc with what the network offers (busybox, udhcpc's script).
case $1 in
  deconfig) ip address flush dev "$interface" ;;
  bound | renew)
    ip address replace "$ip/${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route replace default via "${router%% *}" dev "$interface"
    : > /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
    ;;
esac
