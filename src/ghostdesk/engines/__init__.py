"""Engines make ghosts real. They know ghosts and commands, never forecasts or plans, and not each other."""
