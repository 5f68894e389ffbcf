"""IMAP's commands, one file for each family; its ROWS are at its end."""
