"""`ghostdesk doctor`: an engine and a host checked end to end, with a desktop of its own. See docs/how-to/doctor.md."""
