"""Reading and changing mail beside Dovecot, on copies of the same Maildir content.

Each file is one row of the command line: `run(bench)` yields a table row for each question.
`side_by_side` starts both servers and lets them take turns.
"""
