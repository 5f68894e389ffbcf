"""Durable files, locks, safe file names, and reading files that others may tamper with."""
