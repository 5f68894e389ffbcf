"""imap: an IMAP4rev1 server (RFC 3501) on top of the store.

handler, reader        the connection: input, output, IDLE, TLS
syntax/                bytes -> values
session, command_row,
table                  states, dispatch, errors; the command table
commands/              what each command does
fetching/              what FETCH sends of a message
searching/             SEARCH, SORT and THREAD
notifying/             NOTIFY
view                   message numbers, and the changes to announce
responses, *_responses values -> bytes
"""
