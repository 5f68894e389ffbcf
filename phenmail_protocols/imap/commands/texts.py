"""Does a message hold a text (SEARCH BODY and TEXT)? Quickly, where its bytes are the text; else through mail's decoder."""
from phenmail_protocols.mail import decode



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
        if not _is_ascii(whole) or _is_encoded(lower):
            return None
        searched = lower if searched is whole else searched.lower()
        if self._octets in searched:
            return None if _has_parts(lower) else True
        # A field that was folded between two words holds them all the same (RFC 5322 2.2.3).
        if self._may_be_folded and self._octets in searched.replace(b"\r\n", b""):
            return None
        return False


def _is_encoded(lower):
    """Whether a message's text is perhaps not simply its bytes: encoded words, transfer encodings, charsets that write other
    letters with ASCII's bytes."""
    return (b"=?" in lower or b"quoted-printable" in lower or b"base64" in lower
            or b"iso-2022" in lower or b"hz-gb" in lower or b"utf-7" in lower or b"utf-16" in lower or b"utf-32" in lower)


def _has_parts(lower):
    """Whether something may lie between the texts that is none."""
    return b"multipart/" in lower or b"message/" in lower or b"application/" in lower or b"image/" in lower


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
