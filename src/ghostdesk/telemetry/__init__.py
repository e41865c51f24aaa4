"""What happened: usage events and histories (values), and what collects and imports them (I/O)."""
