"""The version of hccore. The build reads it from this file (see `pyproject.toml`)."""

__version__ = "0.1.0"
