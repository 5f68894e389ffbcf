"""Does a message hold a text (SEARCH BODY and TEXT)? Quickly, where its bytes are the text; else through mail's decoder."""
from phenmail_protocols.mail import decode

# Each of these in a message says that its text is not simply its bytes: encoded words, transfer encodings, charsets that write
# other letters with ASCII's bytes.
ENCODED = (b"=?", b"quoted-printable", b"base64", b"utf-7", b"iso-2022", b"hz-gb", b"utf-16", b"utf-32")
# Where one of these is, parts may lie between the texts that are none.
PARTS = (b"multipart/", b"message/", b"application/", b"image/")


class Finder:
    """Looks for `text` (str) in bodies, or in whole messages where `header` is true; case does not count (RFC 3501 6.4.4)."""

    def __init__(self, text, header):
        self._header = header
        self._key = decode.fold_case(text)
        self._octets = _ascii(self._key)
        self._may_be_folded = " " in self._key or "\t" in self._key

    def is_in(self, message):
        """`message`: messages.Message."""
        whole = message.small()
        if whole is not None and self._octets is not None:
            answer = self._is_in_octets(whole if self._header else whole[len(message.header()):], whole)
            if answer is not None:
                return answer
        return decode.message_holds(message.tree(), message.octets, self._key, self._header)

    def _is_in_octets(self, searched, whole):
        """True, False, or None where the bytes do not tell."""
        lower = whole.lower()
        if not _is_ascii(whole) or any(mark in lower for mark in ENCODED):
            return None
        searched = lower if searched is whole else searched.lower()
        if self._octets in searched:
            return None if any(mark in lower for mark in PARTS) else True
        # A field that was folded between two words holds them all the same (RFC 5322 2.2.3).
        if self._may_be_folded and self._octets in searched.replace(b"\r\n", b""):
            return None
        return False


def _ascii(text):
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        return None


def _is_ascii(data):
    try:
        data.decode("ascii")  # bytes.isascii is not in Python 3.6
    except UnicodeDecodeError:
        return False
    return True
