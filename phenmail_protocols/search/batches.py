"""Documents that are added to the index in one transaction."""

_TEXT = 65536  # characters in one transaction


class Batch:
    """Documents that are added together, up to a UID."""

    def __init__(self, index, box, upto):
        self._index = index
        self._box = box
        self._before = self._upto = upto
        self._documents, self._gaps, self._size = [], [], 0
        self.is_lost = False  # another process was faster

    def add(self, uid, mark, window):
        if self._size and self._size + len(window) > _TEXT:
            self.flush()
        self._documents.append((uid, mark, window))
        self._size += len(window)

    def end(self, uid):
        """All windows of the message were added."""
        self._upto = uid

    def give_up(self, uid):
        """The message cannot be indexed."""
        self._gaps.append(uid)
        self._upto = uid

    def flush(self):
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
    """Documents of gaps."""

    def __init__(self, index, box):
        super().__init__(index, box, 0)
        self._filled = []

    def end(self, uid):
        self._filled.append(uid)

    def _write(self, database):
        database.fill(self._box, self._documents, self._filled, self._gaps)
        self._filled = []
