"""Ghosts as system containers of Incus or LXD: one machine, or a cluster of them."""
