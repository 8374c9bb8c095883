"""The command line. Each command's module is imported only when the command is used."""

from .group import main

__all__ = ["main"]
