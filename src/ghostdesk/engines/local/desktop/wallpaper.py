"""Paint the root window with a soft vertical gradient, once. Runs inside a ghost with Debian's Python."""

import struct
import sys

from Xlib import X, display

TOP, BOTTOM = (0x1F, 0x2F, 0x3F), (0x3A, 0x6A, 0x86)
TILE_WIDTH = 8
DITHER = (0, 4, 1, 5, 3, 7, 2, 6)
"""An ordered pattern: eight steps between two neighbouring colours, so that no bands show."""


def tile(height: int) -> bytes:
    """The picture of one tile, 4 bytes a pixel, `TILE_WIDTH` x `height`."""
    rows = []
    for y in range(height):
        share = y / max(1, height - 1)
        exact = [a + (b - a) * share for a, b in zip(TOP, BOTTOM)]  # noqa: B905 - two triples
        for x in range(TILE_WIDTH):
            step = DITHER[(x + 3 * y) % 8] / 8
            red, green, blue = (min(255, int(value + step)) for value in exact)
            rows.append(struct.pack("<I", red << 16 | green << 8 | blue))
    return b"".join(rows)


def main() -> int:
    """Set the gradient; 0 when it was done."""
    screen_display = display.Display()
    screen = screen_display.screen()
    height = max(screen.height_in_pixels, 1200)
    pixmap = screen.root.create_pixmap(TILE_WIDTH, height, screen.root_depth)
    context = pixmap.create_gc()
    picture = tile(height)
    rows_at_once = 1024
    for top in range(0, height, rows_at_once):
        count = min(rows_at_once, height - top)
        part = picture[top * TILE_WIDTH * 4 : (top + count) * TILE_WIDTH * 4]
        pixmap.put_image(context, 0, top, TILE_WIDTH, count, X.ZPixmap, screen.root_depth, 0, part)
    screen.root.change_attributes(background_pixmap=pixmap)
    screen.root.clear_area(0, 0, 0, 0)
    screen_display.sync()
    return 0


if __name__ == "__main__":
    sys.exit(main())
