"""History in: readers of usage logs that others wrote, and the one loop that brings them into the store."""
