"""How much of each resource a user takes over the coming hours: one file a predictor, and the model over them."""
