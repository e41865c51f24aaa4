"""ghostdesk: predictive virtual desktops. The desktop is ready before its user is."""

__version__ = "0.1.0"
