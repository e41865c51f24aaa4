"""Calendars: what they say of a person's time, never what is in them."""
