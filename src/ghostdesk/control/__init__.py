"""Observe, forecast, plan, act: the only writer of the pool."""
