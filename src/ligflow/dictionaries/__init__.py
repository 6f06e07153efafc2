"""Dictionaries of features: sparse autoencoders and transcoders in the formats that people have."""
