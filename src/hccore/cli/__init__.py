"""The command line: one file for each command, nothing but arguments, calls and printing.

In: arguments. Out: files, text and an exit code.
Imports every other package.
"""

from hccore.cli.entry import command, main

__all__ = ["command", "main"]
