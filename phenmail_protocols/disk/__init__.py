"""Durable files, locks between processes, and names that are safe on any disk."""
