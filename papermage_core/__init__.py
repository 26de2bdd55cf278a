"""Train and run entity predictors over scientific documents; every part of the model is a plugin."""
