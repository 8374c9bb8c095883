"""``python -m kafkapipe`` is the command line."""

from .cli import main

main()
