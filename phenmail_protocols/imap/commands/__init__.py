"""What IMAP's commands do, a file per family: (session, arguments) -> Step. `imap.table` says when each may run."""
