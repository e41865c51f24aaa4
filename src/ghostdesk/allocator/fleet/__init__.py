"""The planner of a fleet: which person and which pool gets which ghost on which host, at the hosts' shadow prices."""
