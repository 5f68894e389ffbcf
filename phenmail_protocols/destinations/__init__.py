"""Destinations other than mailboxes and servers: programs, plugins, forwards.

`local_delivery` takes such mail from the queue; `programs` runs commands; `srs` rewrites senders of
forwarded mail, and finds the way back.
"""
