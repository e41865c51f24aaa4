"""The User Profile Engine: who will need what, when, with which probability."""
