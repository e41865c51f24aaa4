"""Images of desktops: what goes into one (pure), and how it is built."""
