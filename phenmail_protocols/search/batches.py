"""Documents that are added to the index in one transaction."""

_TEXT = 65536  # characters in one transaction


class Batch:
    """Documents of new messages, by ascending UID. Call `flush` at the end."""

    def __init__(self, index, box, upto):
        """`index`: the BodyIndex; `box`: see database.py; `upto`: the UID up to which the box is
        indexed already."""
        self._index = index
        self._box = box
        self._before = self._upto = upto
        self._documents, self._gaps, self._size = [], [], 0
        self.is_lost = False  # another process has indexed these messages; nothing is written

    def add(self, uid, mark, window):
        """Add a document: one window of a message's text. Raises errors.StoreError."""
        if self._size and self._size + len(window) > _TEXT:
            self.flush()
        self._documents.append((uid, mark, window))
        self._size += len(window)

    def end(self, uid):
        """Note that all windows of the message were added."""
        self._upto = uid

    def give_up(self, uid):
        """Note that the message cannot be indexed, so searches always read it."""
        self._gaps.append(uid)
        self._upto = uid

    def flush(self):
        """Write the documents in one transaction. Raises errors.StoreError."""
        if self.is_lost:
            return
        with self._index.open() as database:
            self._write(database)
        self._documents, self._gaps, self._size = [], [], 0

    def _write(self, database):
        self.is_lost = not database.add(
            self._box, self._before, self._upto, self._documents, self._gaps)
        self._before = self._upto


class Filling(Batch):
    """Documents of messages that are gaps (see database.py), in any order."""

    def __init__(self, index, box):
        super().__init__(index, box, 0)
        self._filled = []

    def end(self, uid):
        self._filled.append(uid)

    def _write(self, database):
        database.fill(self._box, self._documents, self._filled, self._gaps)
        self._filled = []
