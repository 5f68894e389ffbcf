"""IMAP's formal syntax (RFC 3501 section 9): bytes of the wire -> values. Pure.

grammar          a whole command: its tag, its name, and the row of the table that parses the rest
command_grammar  the arguments of most commands; append_grammar, fetch_grammar, search_grammar,
                 sort_grammar: those of APPEND, FETCH, SEARCH, SORT and THREAD
tokens           atoms, strings, numbers, lists
sequence         sequence sets
patterns         the patterns of LIST
values           what comes out
"""
