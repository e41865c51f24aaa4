"""Scoring every predictor on an operator's own history, with honest, chronological splits."""
