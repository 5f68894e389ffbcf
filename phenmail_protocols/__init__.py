"""The rooms of phenmail, a whole mail service in Python."""

__version__ = "0.1.0"
