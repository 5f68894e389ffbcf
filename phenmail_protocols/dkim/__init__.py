"""DKIM: keys, signing and verifying."""
