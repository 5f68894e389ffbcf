"""Plugins: Python objects that get mail."""
