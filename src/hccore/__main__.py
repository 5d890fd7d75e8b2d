"""`python -m hccore`."""

from hccore.cli.main import command

if __name__ == "__main__":
    command()
