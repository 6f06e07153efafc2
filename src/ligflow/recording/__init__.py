"""From a model to its layers: recorded in one run, and validated."""
