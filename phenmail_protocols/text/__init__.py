"""What every other room shares: forms of text, and the earliest plausible time."""
