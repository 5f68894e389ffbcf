"""What the queue has promised, and whether what is found keeps it. It hears what `queueworker`
asks and is answered; it reads no file."""


class Promise:
    """One message: what its queue said of it, at least and at most."""

    __slots__ = ("digest", "kept", "going", "gone", "floor", "least", "most")

    def __init__(self, digest):
        self.digest = digest
        self.kept = False       # commit returned
        self.going = False      # its removal was asked for
        # "now": it was removed; "for good": and no power loss brings it back
        self.gone = ""
        self.floor = 0          # attempts: what a power loss leaves at least,
        self.least = 0          # what a kill leaves at least,
        self.most = 0           # and what was asked for


class QueueOracle:
    """Takes the lines of workers (`hear`), and readings (`check`)."""

    def __init__(self):
        self.promises = {}
        self.failures = []      # (verb, name of the exception)

    def hear(self, line):
        """One line of a worker; the order of lines is that of its work."""
        if "failed" in line:
            self.failures.append((line["failed"], line["error"]))
        promise = self.promises.get(line.get("identity"))
        if line.get("ask") == "commit":
            self.promises[line["identity"]] = Promise(line["digest"])
        elif line.get("ok") == "commit":
            promise.kept = True
        elif line.get("ask") == "update":
            promise.most = line["value"]
        elif line.get("ok") == "update":
            promise.least = line["value"]
            if line["durable"]:
                promise.floor = line["value"]
        elif line.get("ask") == "remove":
            promise.going = True
        elif line.get("ok") == "remove":
            promise.gone = "for good" if line["durable"] else "now"
        elif line.get("failed") == "enqueue":
            self.promises.pop(line["identity"], None)

    def check(self, reading, power_lost=False):
        """What a start found -> broken promises (list of str). From then on that is what is
        there."""
        found, broken = reading["messages"], []
        for identity in sorted(found):
            broken += self._there(identity, found[identity], power_lost)
        for identity, promise in sorted(self.promises.items()):
            if identity not in found and promise.kept and not promise.going:
                broken.append("%s was accepted and is nowhere" % identity)
        wanted = {identity + suffix for identity in found
                  for suffix in (".body", ".state")} | {"changes"}
        broken += ["%s is left behind" % name for name in reading["files"] if name not in wanted]
        self._settle(found, power_lost)
        return broken

    def _there(self, identity, message, power_lost):
        digest, attempts = message
        promise = self.promises.get(identity)
        if promise is None:
            return ["%s is there, and was never queued or is long gone" % identity]
        broken = []
        if digest != promise.digest:
            broken.append("%s is not what was queued" % identity)
        if promise.gone == "for good" or promise.gone and not power_lost:
            broken.append("%s was removed and is there" % identity)
        if not (promise.floor if power_lost else promise.least) <= attempts <= promise.most:
            broken.append("%s has %d attempts, and not %d or %d to %d" % (
                identity, attempts, promise.floor, promise.least, promise.most))
        return broken

    def _settle(self, found, power_lost):
        for identity, promise in list(self.promises.items()):
            if identity in found:
                promise.kept, promise.going, promise.gone = True, False, ""
                promise.least = promise.most = found[identity][1]
                if power_lost:
                    promise.floor = promise.least
            elif power_lost or promise.gone == "for good":
                del self.promises[identity]
            else:
                promise.going, promise.gone = True, "now"
