"""The Ghost Desktop Manager: which ghosts exist, in which state, whose they are."""
