"""Where numbers lie and how exact they are: memory, weights, precision, devices in turn."""
