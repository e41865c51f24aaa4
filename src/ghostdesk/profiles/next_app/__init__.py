"""Which application a person turns to next: one file an expert, and their mixture."""
