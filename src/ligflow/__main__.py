"""`python -m ligflow` is the command `ligflow`."""

from ligflow.cli import main

main()
