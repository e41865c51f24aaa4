#!/bin/bash
# The X server on the machine's own graphics card, and the session on it as the user. It returns when either ends.
umask 022
event_of() {  # event_of WORDS: the device file of the input device with this in its name
  local device
  for device in /sys/class/input/event*; do
    if grep -q "$1" "$device/device/name" 2> /dev/null; then
      echo "/dev/input/${device##*/}"
      return
    fi
  done
}
keyboard=$(event_of 'Virtio Keyboard')
keyboard=${keyboard:-$(event_of 'Set 2 keyboard')}
tablet=$(event_of Tablet)
cat > /run/xorg.conf << END
Section "ServerFlags"
  Option "AutoAddDevices" "false"
  Option "AutoEnableDevices" "false"
  Option "DontVTSwitch" "true"
  Option "BlankTime" "0"
  Option "StandbyTime" "0"
  Option "SuspendTime" "0"
  Option "OffTime" "0"
EndSection
Section "Device"
  Identifier "card"
  Driver "modesetting"
  Option "kmsdev" "/dev/dri/card0"
  Option "AccelMethod" "none"
EndSection
Section "InputDevice"
  Identifier "keyboard"
  Driver "evdev"
  Option "Device" "$keyboard"
EndSection
Section "InputDevice"
  Identifier "pointer"
  Driver "evdev"
  Option "Device" "$tablet"
EndSection
Section "Screen"
  Identifier "screen"
  Device "card"
EndSection
Section "ServerLayout"
  Identifier "layout"
  Screen "screen"
  InputDevice "keyboard" "CoreKeyboard"
  InputDevice "pointer" "CorePointer"
EndSection
END
mkfifo /run/screen-up
Xorg :0 vt1 -config /run/xorg.conf -logfile /run/xorg.log -novtswitch -nolisten tcp -noreset -ac \
  -displayfd 5 5> /run/screen-up &
screen=$!
read -r _ < /run/screen-up
export HOME=/home/user USER=user LOGNAME=user SHELL=/bin/bash LANG=C.UTF-8 DISPLAY=:0
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/games
export XDG_RUNTIME_DIR=/run/user/1000 XDG_CURRENT_DESKTOP=ghostdesk XDG_SESSION_TYPE=x11
export XDG_DATA_DIRS=/opt/ghostdesk/share:/usr/local/share:/usr/share
export PYTHONPATH=/opt/ghostdesk PYTHONDONTWRITEBYTECODE=1 NO_AT_BRIDGE=1 GTK_A11Y=none
export GHOSTDESK_AGENT_SOCKET=/run/ghost/agent.sock GHOSTDESK_TOKEN_FILE=/run/ghost/agent.token
export GHOSTDESK_CGROUP_KIND=none "GHOSTDESK_AGENT=/usr/bin/python3 /opt/ghostdesk/vm/agent_later.py" GHOSTDESK_DESKTOP=/tmp/.ghostdesk
cd /home/user || exit 1
setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- \
  /bin/bash -c 'umask 077; mkdir -p "$GHOSTDESK_DESKTOP"; exec dbus-run-session -- bash /opt/ghostdesk/desktop/inside.sh' &
inside=$!
(
  # Painted: window manager and panel are there, and the agent waits for its name.
  until xdotool search --onlyvisible --class tint2 > /dev/null 2>&1; do sleep 0.5; done
  until [ -e "$GHOSTDESK_DESKTOP/agent-loaded" ]; do sleep 0.5; done
  touch /run/ghostdesk-painted
) &
python3 /opt/ghostdesk/vm/follow_screen.py &
wait -n "$screen" "$inside"
