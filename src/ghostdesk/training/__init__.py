"""Training the models that an operator runs: data in batches, checkpoints, the gate before a model goes live."""
