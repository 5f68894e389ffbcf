"""Destinations other than mailboxes: programs and forwards."""
