"""Finds what other programs changed in the files of a mailbox, and updates the index.

rescan       when a folder is listed, and what happens then
shares       the names in the folder, the UID list and the index, in portions that fit into memory
differences  files that arrived, are gone, or have other flags
measuring    sizes and dates of files that arrived, when they are first needed
"""
