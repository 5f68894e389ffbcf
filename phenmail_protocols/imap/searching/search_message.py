"""A message while SEARCH tests it. Each field and each text is decoded once, however many keys ask
for it."""
from ...mail import headers, searchable, textsearch
from ..fetching.message import FIELDS

DAY = 86400
FEW = 20  # field names that one regular expression looks for; with more, it becomes slow


class Wanted:
    """The field names (bytes in lower case) and the needles for which a query searches each
    message."""

    def __init__(self):
        self.names = set()
        self.needles = {}  # as an ordered set

    def field(self, name):
        self.names.add(name)
        return name

    def needle(self, text, header):
        """A textsearch.Needle for BODY, or for TEXT if `header`; equal ones are one object."""
        needle = textsearch.Needle.of(text, header)
        return self.needles.setdefault(needle, needle)


class SearchMessage:
    """`message`: a fetching.message.Message; `wanted`: the query's Wanted; `look` and `alone`: the
    session's. Each part of the message is read when it is first needed."""
    __slots__ = ("_message", "_wanted", "_look", "_alone", "_values", "_texts", "_sent", "_found")

    def __init__(self, message, wanted, look, alone):
        self._message = message
        self._wanted = wanted
        self._look = look
        self._alone = alone
        self._values = None
        self._texts = {}  # (field name, read) -> list of str
        self._sent = ()
        self._found = None

    def values(self, name):
        """The raw values of a field; none if there is no such field."""
        if self._values is None:
            self._values = self._collect(sorted(self._wanted.names))
        return self._values.get(name, ())

    def _collect(self, names):
        message, found = self._message, {}
        if len(names) > FEW and message.header_size() <= FIELDS:
            for field in headers.each_field(message.header()):
                self._look()
                name = field.name.lower()
                if name in self._wanted.names:
                    found.setdefault(name, []).append(field.value)
            return found
        for start in range(0, len(names), FEW):
            self._look()
            some = frozenset(names[start:start + FEW])
            found.update(headers.collect(message.fields(some), some))
        return found

    def texts(self, name, read):
        """The values of a field, converted by `read` (textsearch.field_text, address_text).

        If they are too large to be kept they are read each time.
        """
        found = self._texts.get((name, read))
        if found is None:
            self._look()
            values = self.values(name)
            size = sum([len(name) + len(value) for value in values])
            # Message.fields may have cut fields near its limit, so `values` may lack some.
            if self._message.header_size() > FIELDS < 2 * size:
                return self._all_texts(name, read)
            found = self._texts[name, read] = list(map(read, values))
        return found

    def _all_texts(self, name, read):
        for block in self._message.blocks(name):
            for value in headers.collect(block, frozenset((name,))).get(name, ()):
                self._look()
                yield read(value)

    def sent_day(self):
        """The day that the Date field names (days since 1970), or None if it is unreadable."""
        if self._sent == ():
            self._sent = searchable.sent_day(self.values(b"date"))
        return self._sent

    def holds(self, needle):
        """Whether the message contains this one of the wanted needles."""
        if self._found is None:
            self._found = self._find()
        return needle in self._found

    def _find(self):
        message, unsure, found = self._message, self._wanted.needles, set()
        text = None if message.whole is None else textsearch.plain(message.whole)
        if text is not None:
            found, unsure = textsearch.sift(unsure, text, len(message.header()), self._look)
        if unsure:
            with self._alone():
                found |= textsearch.find(unsure, message.tree(), message.sequential(), self._look)
            message.forget_tree()
        return found
