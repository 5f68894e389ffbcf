"""The one way to run another process: programs, Python filters, and the judging of mail."""
