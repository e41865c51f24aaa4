"""Seamless Transition: how the person's screen moves to the ghost without a seam."""
