"""A measured figure beside its peer and its bar, as a line of a table."""
import statistics
from typing import NamedTuple, Optional

HEAD = ("row", "ours", "peer", "ratio", "bar", "verdict")
WIDTHS = (50, 14, 24, 7, 14)


class Row(NamedTuple):
    """`ratio` is ours to the peer's; `bar` in words; `passed` None: there is no bar, or nothing to
    compare."""
    name: str
    ours: str
    peer: str = ""
    ratio: Optional[float] = None
    bar: str = ""
    passed: Optional[bool] = None

    @property
    def verdict(self):
        return {True: "ok", False: "MISSED", None: "-"}[self.passed]


def beside(name, ours, peer_name, peer, form, at_least=None, at_most=None):
    """A Row of two figures (`peer` None: it is not here); the bar is a ratio of ours to the
    peer's."""
    bar = "" if at_least is None and at_most is None else (
        "at least %.2g" % at_least if at_most is None else "at most %.2g" % at_most)
    if peer is None:
        return Row(name, form % ours, peer_name + " missing", None, bar)
    ratio = ours / peer
    passed = None if not bar else ratio >= at_least if at_most is None else ratio <= at_most
    return Row(name, form % ours, "%s %s" % (peer_name, form % peer), ratio, bar, passed)


def alone(name, value, form, at_least=None, at_most=None, about=""):
    """A Row of one figure; the bar is a figure too."""
    bar = "" if at_least is None and at_most is None else (
        "at least " + form % at_least if at_most is None else "at most " + form % at_most)
    passed = None if not bar else value >= at_least if at_most is None else value <= at_most
    return Row(name, form % value, about, None, bar, passed)


def line(row):
    ratio = "" if row.ratio is None else "%.2f" % row.ratio
    return columns((row.name, row.ours, row.peer, ratio, row.bar, row.verdict))


def columns(texts):
    return "  ".join(text.ljust(width) for text, width in zip(texts, WIDTHS + (0,))).rstrip()


def median(values):
    return statistics.median(values) if values else float("nan")
