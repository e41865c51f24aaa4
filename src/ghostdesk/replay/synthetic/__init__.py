"""The parts of the synthetic organisation: people, habits, days, scenarios, files, calendars, desktops, calibration."""
