"""`python -m hccore`."""

from hccore.cli import command

if __name__ == "__main__":
    command()
