"""Attention along the paths of a baseline, from the sources to the target."""
