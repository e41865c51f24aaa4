#!/bin/bash
# What runs on the screen, with the session bus: each part is started again when it ends.
data=/opt/ghostdesk/desktop
dir=$GHOSTDESK_DESKTOP
umask 022

again() {  # again COMMAND...: run it, and again s after it ends; more and more slowly while it ends at once
  local pause=0.2 began
  while true; do
    began=$SECONDS
    "$@"
    if ((SECONDS - began > 5)); then pause=0.2; fi
    sleep "$pause"
    case $pause in 0.2) pause=0.5 ;; 0.5) pause=1 ;; 1) pause=2 ;; *) pause=5 ;; esac
  done
}

cp "$data/rc.xml" "$data/tint2rc" "$dir/"
cp "$data/menu.xml" "$dir/menu.xml"
mkdir -p "$HOME/.config/gtk-3.0"
[ -e "$HOME/.config/gtk-3.0/settings.ini" ] || cp "$data/gtk-3.0.ini" "$HOME/.config/gtk-3.0/settings.ini"
[ -e "$HOME/.gtkrc-2.0" ] || cp "$data/gtkrc-2.0" "$HOME/.gtkrc-2.0"

xsetroot -solid '#22313f' -cursor_name left_ptr
xset s off -dpms 2> /dev/null
again openbox --config-file "$dir/rc.xml" &
# A virtual machine waits until it knows whose it is.
again ${GHOSTDESK_AGENT:-/usr/bin/python3 -m ghostdesk.agent} &
favourites='firefox-esr firefox chromium google-chrome lxterminal xfce4-terminal debian-xterm org.xfce.mousepad mousepad
  libreoffice-writer org.gnome.Evince evince thunderbird gimp'
(
  # The menu of this host's applications; the desktop works with the plain one until it is written.
  if /usr/bin/python3 -m ghostdesk.agent.menu "$dir"; then openbox --reconfigure; fi
  shown=0
  for app in $favourites; do
    if [ -e "$dir/launchers/$app.desktop" ] && ((shown < 8)); then
      echo "launcher_item_app = $dir/launchers/$app.desktop" >> "$dir/tint2rc"
      shown=$((shown + 1))
    fi
  done
  again tint2 -c "$dir/tint2rc"
) &
/usr/bin/python3 "$data/wallpaper.py" &
wait
