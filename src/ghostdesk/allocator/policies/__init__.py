"""Policies: each says how many ghosts to hold for anybody, and for whom to hold one, from what was seen so far."""
