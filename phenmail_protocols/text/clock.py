"""What a clock can't show. Small machines have no battery: they start in 1970, and jump when the network comes."""

EARLIEST = 1704067200  # epoch seconds of 2024-01-01 00:00 UTC: a clock that shows less is wrong
