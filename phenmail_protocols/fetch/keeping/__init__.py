"""What was fetched before.

notes (of one mailbox) -> state (an account's file) -> state_lines (its form), known (in memory)
"""
