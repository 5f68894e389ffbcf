"""A mailbox in memory."""
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.store.columns import Columns


@given(st.lists(st.integers(1, 200), unique=True),
       st.lists(st.integers(1, 200), unique=True))
def test_rows_are_those_asked_for(present, asked):
    present.sort()
    asked.sort()
    columns = Columns().fill([(uid, "S" * (uid % 2), uid, uid * 10, uid)
                              for uid in present], frozenset)
    rows = columns.rows(asked)
    assert list(rows.uids) == [uid for uid in asked if uid in present]
    assert list(rows.sizes) == [uid * 10 for uid in rows.uids]
