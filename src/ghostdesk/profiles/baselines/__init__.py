"""Strong simple predictors: what every learned model has to beat."""
