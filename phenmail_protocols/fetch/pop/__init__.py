"""POP3 servers as sources.

source -> listing (LIST and UIDL, keys) -> client (the dialogue), login
"""
