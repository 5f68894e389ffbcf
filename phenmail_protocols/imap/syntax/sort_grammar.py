"""The arguments of SORT and THREAD (RFC 5256, RFC 5957, RFC 5267 section 3). Pure."""
from . import search_grammar
from .values import Criterion, Sort, Thread

CRITERIA = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO")
ALGORITHMS = ("ORDEREDSUBJECT", "REFERENCES")


def sort(scan):
    returns = search_grammar.return_options(scan)
    scan.expect(b"(", "a list of sort criteria")
    criteria = tuple(scan.items(lambda: _criterion(scan)))
    scan.space()
    return Sort(criteria, search_grammar.search_in_charset(scan), scan.uid, returns)


def _criterion(scan):
    start = scan.at
    name, reverse = scan.keyword("a sort criterion"), False
    if name == "REVERSE":
        scan.space()
        name, reverse = scan.keyword("a sort criterion"), True
    if name not in CRITERIA:
        raise scan.failed("a sort criterion (%s)" % " ".join(CRITERIA), start)
    return Criterion(name, reverse)


def thread(scan):
    start = scan.at
    algorithm = scan.keyword("a threading algorithm")
    if algorithm not in ALGORITHMS:
        raise scan.failed("a threading algorithm (%s)" % " ".join(ALGORITHMS), start)
    scan.space()
    return Thread(algorithm, search_grammar.search_in_charset(scan), scan.uid)
