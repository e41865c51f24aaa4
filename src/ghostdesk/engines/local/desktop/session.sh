#!/bin/bash
# The first process of a ghost: its screen, its window manager, its panel and its agent. When the screen or the session
# bus ends, this ends, and with it (being process 1 of the PID namespace) everything inside.
umask 077
# The log on the host is for the start only and of bounded size; what comes later is dropped.
exec > >(ulimit -f 512; head -c 200000; exec cat > /dev/null) 2>&1

data=/opt/ghostdesk/desktop
export GHOSTDESK_DESKTOP=/tmp/.ghostdesk
export XDG_DATA_DIRS=/opt/ghostdesk/share:/usr/local/share:/usr/share
mkdir -p "$GHOSTDESK_DESKTOP"
rm -f /run/ghost/rfb.sock
mkfifo "$GHOSTDESK_DESKTOP/up"

Xvnc :0 -geometry "$GHOSTDESK_GEOMETRY" -depth 24 -desktop ghostdesk \
  -rfbunixpath /run/ghost/rfb.sock -rfbunixmode 0600 -rfbport=-1 -SecurityTypes None -AlwaysShared=1 -UseBlacklist=0 \
  -AcceptSetDesktopSize=1 -SendPrimary=0 -FrameRate "${GHOSTDESK_FRAME_RATE:-120}" -nolisten tcp \
  -noreset -br -displayfd 5 5> "$GHOSTDESK_DESKTOP/up" &
screen=$!
read -r _ < "$GHOSTDESK_DESKTOP/up"

dbus-run-session -- bash "$data/inside.sh" &
inside=$!

wait -n "$screen" "$inside"
exit 1
