"""When a clock is wrong: machines without a battery start in 1970, until the network is up."""

EARLIEST = 1704067200  # epoch seconds of 2024-01-01 00:00 UTC: an earlier clock is wrong
