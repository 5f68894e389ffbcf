"""What every other room shares: forms of text, and from when on a clock is believed."""
