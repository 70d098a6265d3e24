"""The `scfae` command: each module parses one command, calls one function and prints."""

from .main import main

__all__ = ["main"]
