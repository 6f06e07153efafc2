"""`python -m ligflow` is the command `ligflow`."""

from ligflow.cli.main import main

main()
