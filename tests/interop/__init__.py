"""Programs that nobody here wrote, against the running program over TLS."""
