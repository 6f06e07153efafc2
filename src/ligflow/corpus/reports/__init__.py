"""Runs as pages, figures and tables."""
