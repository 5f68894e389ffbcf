"""Only `testing` is for other programs; the other rooms may change at any time."""
