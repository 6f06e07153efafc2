"""One layer of a model, replayed: the only package that knows the attention interface."""
