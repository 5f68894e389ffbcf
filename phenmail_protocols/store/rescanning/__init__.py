"""Taking in what other programs did to the files of a mailbox.

rescan       when, and in which steps
shares       a folder's names beside those of the index, in portions that fit into memory
differences  files that arrived, are gone, or have other flags
measuring    sizes and dates of files that arrived, at first need
"""
