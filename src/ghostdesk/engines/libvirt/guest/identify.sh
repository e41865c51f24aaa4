#!/bin/bash
# identify.sh GHOST UNIX-TIME: become this ghost. The agent's credential and fresh random bytes come on standard input.
# Few programs are started: a person may wait for this, and under emulation each one counts.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
ghost=$1
date -u -s "@$2" > /dev/null
read -r token
read -r random
echo "$random" > /dev/urandom
echo "$ghost" > /proc/sys/kernel/hostname
umask 022
echo "$ghost" > /etc/hostname
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$ghost" > /etc/hosts
read -r id < /proc/sys/kernel/random/uuid
echo "${id//-/}" > /etc/machine-id
umask 077
printf '%s' "$token" > /run/ghost/agent.token
printf '%s\n' "$ghost" > /run/ghost/.identity
chown 1000:1000 /run/ghost/agent.token /run/ghost/.identity
mv /run/ghost/.identity /run/ghost/identity
