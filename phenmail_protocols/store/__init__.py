"""Mailboxes on disk: plain Maildir++ files, an index beside them, no protocol.

Come in through ``filestore.FileStore``; what goes in and out is in ``model``
and ``errors``.
"""
