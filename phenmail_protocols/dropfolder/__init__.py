"""Drop folders: files that other programs leave for a user are filed as new mail."""
