"""The arguments of SORT and THREAD (RFC 5256, RFC 5957, RFC 5267 section 3). Pure."""
from . import search_grammar
from .values import Criterion, Sort, Thread

# Words -> the extension to which each belongs; None: to SORT.
CRITERIA = {"ARRIVAL": None, "CC": None, "DATE": None, "FROM": None, "SIZE": None, "SUBJECT": None,
            "TO": None, "DISPLAYFROM": "SORT=DISPLAY", "DISPLAYTO": "SORT=DISPLAY"}
ALGORITHMS = {"ORDEREDSUBJECT": "THREAD=ORDEREDSUBJECT", "REFERENCES": "THREAD=REFERENCES"}


def sort(scan):
    returns = search_grammar.return_options(scan, "ESORT")
    scan.expect(b"(", "a list of sort criteria")
    criteria = tuple(scan.items(lambda: _criterion(scan)))
    scan.space()
    return Sort(criteria, search_grammar.search_in_charset(scan), scan.uid, returns)


def _criterion(scan):
    reverse = scan.skip_word(b"REVERSE ")
    return Criterion(scan.one_of(CRITERIA, "a sort criterion"), reverse)


def thread(scan):
    algorithm = scan.one_of(ALGORITHMS, "a threading algorithm")
    scan.space()
    return Thread(algorithm, search_grammar.search_in_charset(scan), scan.uid)
