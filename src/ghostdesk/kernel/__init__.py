"""Values that every other part shares: ids, resources with units, clocks, errors. Standard library only."""
