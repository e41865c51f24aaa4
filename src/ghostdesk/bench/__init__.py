"""Benchmarks: what a person would see, timed from outside the desktop, and what each rung of the ladder holds."""
