"""When people come: simple predictors of arrivals, each with its source, and the mixture of them."""
