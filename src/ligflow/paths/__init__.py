"""What attention is at each point of the way from baseline to input, and its slope; `routes` integrate it."""
