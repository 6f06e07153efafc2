"""Is it right, and is it good? Checks of a model, other methods, faithfulness, statistics."""
