"""The small program inside each desktop: it launches, hides, freezes, thaws and shows applications, and reports use."""
