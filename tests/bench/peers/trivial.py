"""The ceiling: a threaded socketserver that checks nothing; run as a program it is the server.

It answers every line, and a message it writes, flushes, renames and flushes the
directory. Whatever a Python server does beyond that costs time on top.
"""
import itertools
import os
import socketserver
import sys

from ..messages import make
from .process import PythonPeer


class Trivial(PythonPeer):
    name = "trivial"
    module = __name__

    def __init__(self, folder, python=sys.executable):
        super().__init__(folder, python)
        make(self.maildir)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    daemon_threads = True
    allow_reuse_address = True
    maildir = None
    numbers = itertools.count()


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        self.wfile.write(b"220 trivial\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                self._keep()
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")

    def _keep(self):
        name = "%d.bench" % next(self.server.numbers)
        temporary = "%s/tmp/%s" % (self.server.maildir, name)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, b"".join(iter(self.rfile.readline, b".\r\n")))
        os.fsync(descriptor)
        os.close(descriptor)
        os.rename(temporary, "%s/new/%s" % (self.server.maildir, name))
        directory = os.open(self.server.maildir + "/new", os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)


def serve(port, maildir):
    with Server(("127.0.0.1", port), Handler) as server:
        server.maildir = maildir
        server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
