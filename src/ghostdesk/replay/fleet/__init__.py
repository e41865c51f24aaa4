"""The control loop over thousands of simulated hosts, with faults: what must hold is checked at every tick."""
