"""Drop folders: messages that other programs put into a user's folder are filed as new mail."""
