"""Durable files, locks between processes, safe file names, and files that others may tamper with."""
