"""Configuration: files with comments become immutable, checked values.

Floor 0: knows nothing of mail, sockets or the store.  Begin reading at
`schema.py` (what may be written) and `settings.py` (what comes out).
"""
