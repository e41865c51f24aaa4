"""The page's server: HTTP API, sign-in, and the relay between a browser and its desktop."""
