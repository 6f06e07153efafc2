"""Why a prediction: the chain of path-averaged Jacobians from the score down to the input."""
