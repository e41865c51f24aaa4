#!/bin/bash
# identify.sh GHOST UNIX-TIME: become this ghost. The agent's credential and fresh random bytes come on standard input.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
ghost=$1
date -u -s "@$2" > /dev/null
read -r token
cat > /dev/urandom
hostname "$ghost"
umask 022
echo "$ghost" > /etc/hostname
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$ghost" > /etc/hosts
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
umask 077
printf '%s' "$token" > /run/ghost/agent.token
chown 1000:1000 /run/ghost/agent.token
chmod 0400 /run/ghost/agent.token
umask 027
printf '%s\n' "$ghost" > /run/ghost/.identity
chgrp 1000 /run/ghost/.identity
mv /run/ghost/.identity /run/ghost/identity
