"""A message in a drop folder, as another program wrote it: its wire form.

Knows no folder, no user and no router. RFC 5321 2.3.8 (line ends), RFC 4155 (the "From " line).
"""

PIECE = 128 * 1024  # bytes that are read at once; CRLF line ends may double them


def wire(file):
    """A binary file whose lines end with LF, CRLF or CR -> pieces (bytes) with CRLF line ends.

    A "From " line (mbox) before the header is left out. Raises OSError.
    """
    half, is_first = b"", True
    for piece in iter(lambda: file.read(PIECE), b""):
        piece = half + piece
        half = b""
        if piece[-1:] == b"\r":  # it may be the first half of a CRLF
            half, piece = b"\r", piece[:-1]
        piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if is_first:
            is_first = False
            if piece[:5] == b"From ":
                piece = piece[piece.find(b"\n") + 1:]
        yield piece
    if half:
        yield b"\r\n"
