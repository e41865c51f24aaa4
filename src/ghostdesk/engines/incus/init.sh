#!/bin/bash
# The first process of a ghost in a container: an identity of its own, then the session as the user. It ends with it.
mkdir -p /run/user /run/ghost /tmp/.X11-unix /tmp/.ICE-unix /home/user
chmod 1777 /tmp /tmp/.X11-unix /tmp/.ICE-unix
mkdir -p -m 0700 /run/user/1000
chown 1000:1000 /run/user/1000 /home/user
grep -q ' /run/ghost ' /proc/self/mounts || chown 1000:1000 /run/ghost
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
echo "$GHOSTDESK_GHOST" > /etc/hostname
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$GHOSTDESK_GHOST" > /etc/hosts
cd /home/user || exit 1
exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- \
  /bin/bash /opt/ghostdesk/desktop/session.sh
