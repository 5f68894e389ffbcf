"""The command table: the rows of all files in commands/. A new file is added to _FILES."""
from .commands import (
    any_state,
    append,
    compress,
    copy_move,
    enable,
    expunge,
    fetch,
    idle,
    list_lsub,
    login,
    mailboxes,
    notify,
    quota,
    search,
    select,
    sort_thread,
    store,
)

_FILES = (any_state, login, enable, compress, select, mailboxes, list_lsub, quota, append, idle,
          notify, expunge, search, sort_thread, fetch, store, copy_move)

#: {command name: row.Row}
TABLE = {row.name: row for file in _FILES for row in file.ROWS}
