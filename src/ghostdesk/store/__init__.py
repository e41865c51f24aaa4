"""What must survive a crash: events, claims, users, sessions, imports. SQLite here; PostgreSQL fits the same seam."""
