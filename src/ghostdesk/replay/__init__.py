"""Recorded and synthetic histories, played again."""
