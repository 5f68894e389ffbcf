"""Programs that nobody here wrote judge a message: dkimverify, pyspf, authheaders, OpenDKIM and
SpamAssassin.

Each is a child that asks the name server of the test and no other one. `server` is that name
server's address.
"""
import collections
import os
import re
import sys

from tests.interop.house import run, succeed

# Runs a module as a program, whose questions go to 127.0.0.1 at a port.
_ASKING = """
import runpy, sys, dns.resolver
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = [sys.argv[1]], int(sys.argv[2])
dns.resolver.default_resolver = resolver
del sys.argv[:3]
runpy.run_module(sys.argv[0], run_name="__main__")
"""
_AUTHHEADERS = """
import sys, authheaders
ip, sender, helo = sys.argv[1:]
print(authheaders.authenticate_message(sys.stdin.buffer.read(), "judge.example", ip=ip, mail_from=sender, helo=helo,
                                       spf=True, dkim=True, arc=False, dmarc=True))
"""


class Came(collections.namedtuple("Came", "ip sender helo")):
    """From where a message came: the address of the host, MAIL FROM, and the name in its EHLO."""

    def received(self, message, by="mx.example.net"):
        """The message as the judge's own server would have it: bytes with CRLF."""
        return (
            "Return-Path: <%s>\r\nReceived: from %s (%s [%s])\r\n\tby %s with ESMTPS id 4711\r\n"
            "\tfor <ann@example.net>; %s\r\n" % (
                self.sender, self.helo, self.helo, self.ip, by,
                _date(message))).encode("ascii") + message


def _date(message):
    return re.search(rb"^Date: *([^\r\n]+)", message, re.M | re.I).group(1).decode("ascii")


def _asked(server, module, *words, stdin=b"", folder=None):
    host, port = server
    return run([sys.executable, "-c", _ASKING, host, str(port), module] + list(words), stdin,
               cwd=folder)


def dkimverify(server, message, index=0):
    """What dkimpy's own program says of the signature of that number: bool."""
    done = _asked(server, "dkim.dkimverify", "--index=%d" % index, stdin=message)
    assert b"signature" in done.out or b"ValidationError" in done.err, done
    return done.code == 0 and b"signature ok" in done.out


def spf(server, came):
    """pyspf's result: "pass", "softfail", …"""
    done = _asked(server, "spf", came.ip, came.sender, came.helo)
    assert done.code == 0, done
    return re.match(r"result: \('(\w+)'", done.out.decode("ascii")).group(1)


def authentication(server, came, message, folder):
    """What authheaders says: {"spf": "pass", "dkim": …, "dmarc": …}; of several signatures the
    first."""
    with open(os.path.join(folder, "authentication.py"), "w") as file:
        file.write(_AUTHHEADERS)
    done = _asked(server, "authentication", *came, stdin=message, folder=folder)
    assert done.code == 0, done
    found = {}
    for method, result in re.findall(r"\b(spf|dkim|dmarc)=(\w+)", done.out.decode("utf-8")):
        found.setdefault(method, result)
    return found


_UNBOUND = """\
server:
  module-config: "iterator"
  do-not-query-localhost: no
  do-ip6: no
  username: ""
  chroot: ""
forward-zone:
  name: "."
  forward-addr: %s@%d
"""


def opendkim(program, server, message, folder):
    """OpenDKIM's words about all signatures of a message."""
    paths = {}
    for name, octets in (("unbound.conf", (_UNBOUND % server).encode("ascii")),
                         ("message", message),
                         ("opendkim.conf", b"Mode v\nResolverConfiguration %b\n" % os.path.join(
                             folder, "unbound.conf").encode("ascii"))):
        paths[name] = os.path.join(folder, name)
        with open(paths[name], "wb") as file:
            file.write(octets)
    done = run([program("opendkim"), "-x", paths["opendkim.conf"], "-vvv", "-t", paths["message"]])
    return (done.out + done.err).decode("utf-8", "replace")


def spamassassin(program, server, came, message, folder):
    """SpamAssassin's marks: {name of the test: points}; tests that ask the network ask `server`."""
    settings = ["dns_server [%s]:%d" % server, "dns_available yes", "use_bayes 0",
                "always_trust_envelope_sender 1",
                "clear_report_template", "add_header all Marks _TESTSSCORES(,)_"]
    out = succeed([program("spamassassin")] + ["--cf=" + line for line in settings] + [
        "--prefs-file=" + os.devnull], came.received(message), HOME=folder)
    marks = re.search(rb"^X-Spam-Marks:((?:.*)\r?\n(?:[ \t].*\r?\n)*)", out, re.M).group(1)
    return {name: float(points) for name,
            points in re.findall(r"(\w+)=(-?[\d.]+)", marks.decode("ascii"))}
