#!/bin/bash
# What runs on the screen, with the session bus: each part is started again when it ends.
data=/opt/ghostdesk/desktop
dir=$GHOSTDESK_DESKTOP
umask 022

again() {  # again SECONDS COMMAND...: run it, and run it again after a pause whenever it ends
  local pause=$1
  shift
  while true; do
    "$@"
    sleep "$pause"
  done
}

cp "$data/rc.xml" "$data/tint2rc" "$dir/"
cp "$data/menu.xml" "$dir/menu.xml"
mkdir -p "$HOME/.config/gtk-3.0"
[ -e "$HOME/.config/gtk-3.0/settings.ini" ] || cp "$data/gtk-3.0.ini" "$HOME/.config/gtk-3.0/settings.ini"
[ -e "$HOME/.gtkrc-2.0" ] || cp "$data/gtkrc-2.0" "$HOME/.gtkrc-2.0"

xsetroot -solid '#22313f' -cursor_name left_ptr
xset s off -dpms 2> /dev/null
again 0.2 openbox --config-file "$dir/rc.xml" &
again 0.2 /usr/bin/python3 -m ghostdesk.agent &
(
  # The menu of this host's applications; the desktop works with the plain one until it is written.
  if /usr/bin/python3 -m ghostdesk.agent.menu "$dir"; then openbox --reconfigure; fi
  [ -s "$dir/launchers.tint2rc" ] && cat "$dir/launchers.tint2rc" >> "$dir/tint2rc"
  again 0.2 tint2 -c "$dir/tint2rc"
) &
/usr/bin/python3 "$data/wallpaper.py" &
wait
