"""Give the screen the size that the viewer asks for: the card tells of it, the X server is told to follow."""

import subprocess
import sys

from Xlib import display
from Xlib.ext import randr


def main() -> int:
    """Until the X server ends."""
    screens = display.Display()
    root = screens.screen().root
    root.xrandr_select_input(randr.RRScreenChangeNotifyMask | randr.RROutputChangeNotifyMask)
    while True:
        screens.next_event()
        while screens.pending_events():
            screens.next_event()
        outputs = root.xrandr_get_screen_resources().outputs
        if not outputs:
            continue
        told = screens.xrandr_get_output_info(outputs[0], 0)
        modes = {mode.id: mode for mode in root.xrandr_get_screen_resources().modes}
        wanted = modes.get(told.modes[0]) if told.modes else None
        now = root.get_geometry()
        if wanted is not None and (wanted.width, wanted.height) != (now.width, now.height):
            subprocess.run(["xrandr", "--output", told.name, "--auto"], check=False)


if __name__ == "__main__":
    sys.exit(main())
