"""Who may import whom, read from the source with `ast`.

A floor imports only floors below it; inside a package the files of ORDER
import each other in the order listed, and no files import each other in a
circle. Packages of others, and what costs much or is somebody's own business,
are imported in the files named here and nowhere else.
"""

import ast
import os
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = "phenmail_protocols"

FLOORS = {
    "text": 0, "disk": 0,
    "mail": 1, "net": 1,
    "config": 2,
    "accounts": 3, "store": 3, "children": 3, "dkim": 3, "queue": 3, "oauth": 3,
    "search": 4, "relay": 4, "filters": 4, "authentication": 4,
    "delivery": 5,
    "destinations": 6, "plugins": 6, "dropfolder": 6, "fetch": 6, "protocol": 6,
    "smtp": 7, "pop3": 7, "imap": 7, "admin": 7, "mail_flow": 7,
    "app": 8, "process_tuning": 8, "phenmail": 9, "testing": 9,
}

# Earlier ones know nothing of later ones. Files that are not listed are only
# checked for import cycles.
ORDER = {
    "disk": ("atomic", "keyfile", "locks", "names"),
    "mail": ("address", "envelope", "headers", "structure", "preview", "dates", "bounce"),
    "net": ("lines", "dots", "certificate", "tls", "tlsclient", "deflate", "connection",
            "workers", "listener"),
    "config": ("problems", "scanner", "documents", "root_folder", "settings", "lookup",
               "addresses", "checks", "actions", "imap_extensions", "providers", "oauth2", "schema",
               "build", "loader", "editing"),
    "accounts": ("passphrases", "throttle", "login", "sasl", "directory", "authorization"),
    "store": ("errors", "model", "maildir", "indexing", "changes", "columns", "transaction",
              "adding", "flags", "expunging", "rescanning", "copying", "idle_work", "deriving",
              "reading", "mailbox", "hierarchy", "quota", "group_commit", "watching", "account",
              "poller", "filestore"),
    "store/indexing": ("numbering", "database_file", "expunged", "derived_index", "index",
                       "account_index"),
    "store/rescanning": ("shares", "differences", "rescan"),
    # Knows no SQL and no account.
    "store/maildir": ("filenames", "buckets", "spool", "listing", "folders", "uidlist",
                      "subscriptions", "special_use", "tree", "keywords", "files", "together",
                      "space", "staged", "content"),
    "search": ("texts", "database", "body_index", "comparing", "batches", "building",
               "indexes"),
    "children": ("interpreter", "child_side", "privileges", "python_limits", "python_answer",
                 "child", "pool", "python_filters"),
    "dkim": ("keys", "key_making", "signatures", "body_hash", "signing", "tags", "verifying"),
    "queue": ("model", "retry", "bounces", "state_file", "spool_files", "spool", "schedule",
              "attempt", "worker"),
    "relay": ("smtp_replies", "smtp_wire", "smtp_transaction", "mx_routes", "mta_sts", "dane",
              "tls_policy", "smtp_login", "smtp_client", "courier", "smarthost", "service"),
    "oauth": ("errors", "sasl", "token_requests", "token_store", "device_flow", "code_flow"),
    "filters": ("regex", "verdict", "matching", "rules", "user_filters", "screening"),
    "authentication": ("results", "dmarc", "checks", "judging_child", "judging"),
    "delivery": ("recipient_replies", "trace", "mailboxes", "outgoing", "incoming", "router",
                 "sending"),
    "destinations": ("srs", "local_delivery", "programs"),
    "plugins": ("call_limits", "answer_rate", "email_message", "echo", "loading", "calling"),
    "dropfolder": ("message", "files", "watch", "service"),
    "fetch": ("source", "connecting", "imap_client", "imap_source", "pop_source", "opening",
              "known", "identity", "state_lines", "state", "notes", "status", "filing", "finishing",
              "rounds", "places", "orders", "job", "service"),
    "protocol": ("output", "pipelining", "session", "handler"),
    "smtp": ("grammar", "replies", "session", "commands", "handler"),
    "pop3": ("grammar", "replies", "session", "commands", "handler"),
    "imap": ("syntax", "responses", "progress", "view", "announcing", "session", "commands",
             "table", "reader", "handler"),
    "imap/searching": ("stepwise", "sort_keys", "threads", "search_message", "search_result"),
    "imap/notifying": ("event_filters", "mailbox_names", "notifications"),
    "imap/syntax": ("values", "sequence", "tokens", "command_grammar", "append_grammar",
                    "grammar"),
    "admin": ("terminal", "dns_records", "dns_check", "dns", "queue_text", "queue_orders", "queue",
              "fetch_accounts", "fetch_login", "fetch", "authorize", "check"),
    "testing": ("acceptor", "proxy", "catcher", "fixture"),
}

# Imported where the program can do without, each in one file.
OPTIONAL = {"jsoncomment": "config/loader.py", "dns": "net/resolver.py", "idna": "text/domains.py",
            "dkim": "dkim/signing.py", "spf": "authentication/checks.py",
            "authheaders": (), "pytest": "testing/fixture.py",
            "nacl": ("dkim/signing.py", "dkim/verifying.py"),
            "cryptography": ("net/", "dkim/key_making.py")}

# Imported only below these paths.
ONLY = {
    "ssl": ("net/tls.py", "net/tlsclient.py"), "smtplib": ("relay/smtp_client.py",),
    "sqlite3": ("store/indexing/", "search/database.py"),
    "imaplib": ("fetch/imap_client.py",), "poplib": ("fetch/",),
    "socketserver": ("net/",), "fcntl": ("disk/locks.py",),
    "select": ("net/", "children/python_child.py"), "selectors": ("net/",),
    "argparse": ("admin/commandline.py",),
    "asyncio": (), "decimal": (), "dataclasses": (), "pickle": (), "multiprocessing": (),
}

# Cost much memory: never imported with the module, only by the function that needs them.
HEAVY = frozenset(["email", "urllib", "http", "imaplib", "smtplib", "subprocess", "asyncio",
                   "decimal", "ipaddress", "shlex", "difflib", "xml", "unittest",
                   "jsoncomment", "dns", "dkim", "spf", "authheaders", "idna"])


class Edge:
    """One import: from which file (relative path), of which dotted name."""

    def __init__(self, path, line, name, late):
        self.path, self.line, self.name, self.late = path, line, name, late
        self.source = dotted(path)

    def __repr__(self):
        return "%s:%d imports %s" % (self.path, self.line, self.name)


def dotted(path):
    """net/tls.py -> ("net", "tls"); net/__init__.py -> ("net",)."""
    parts = path[:-len(".py")].split("/")
    return tuple(parts[:-1] if parts[-1] == "__init__" else parts)


def sources():
    """Relative paths of the program's files: those of its rooms, and phenmail.py."""
    found = []
    base = os.path.join(TOP, PROGRAM)
    for folder, _, names in os.walk(base):
        inner = os.path.relpath(folder, base).replace(os.sep, "/")
        found.extend(name if inner == "." else inner + "/" + name
                     for name in names if name.endswith(".py"))
    if os.path.exists(os.path.join(TOP, "phenmail.py")):
        found.append("phenmail.py")
    return sorted(found)


def read_source(path):
    base = TOP if path == "phenmail.py" else os.path.join(TOP, PROGRAM)
    with open(os.path.join(base, path), encoding="utf-8") as file:
        return file.read()


def tree_of(path):
    return ast.parse(read_source(path), path)


def edges_of(path, tree=None):
    """Every import of a file, the late ones too; names of our own without the program's."""
    package = dotted(path) if path.endswith("__init__.py") else dotted(path)[:-1]
    tree = tree_of(path) if tree is None else tree
    late = {id(node) for scope in ast.walk(tree)
            if isinstance(scope, (ast.FunctionDef, ast.Lambda)) for node in ast.walk(scope)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[:len(package) - node.level + 1]) if node.level else []
            base = ([PROGRAM] + base if node.level else []) + (
                node.module.split(".") if node.module else [])
            names = [".".join(base + [alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            yield Edge(path, node.lineno, name, id(node) in late)


EDGES = [edge for path in sources() for edge in edges_of(path)]
OWN = [edge for edge in EDGES if edge.name.split(".")[0] == PROGRAM]
MODULES = {dotted(path) for path in sources()}


def target(edge):
    """The module of ours that an edge reaches, as a tuple."""
    parts = tuple(edge.name.split(".")[1:])
    while parts and parts not in MODULES:
        parts = parts[:-1]
    return parts


def floor_problem(edge):
    """What is wrong with an edge between rooms, or None."""
    reached, source = target(edge), edge.source
    if not reached or reached[0] == source[0]:
        return None
    for room in (source[0], reached[0]):
        if room not in FLOORS:
            return "%r: the room %s is on no floor" % (edge, room)
    if FLOORS[reached[0]] >= FLOORS[source[0]]:
        return "%r: runs up or sideways" % edge
    return None


def order_problem(edge):
    """What is wrong with an edge inside a room, or inside a room's folder, or None."""
    reached, source = target(edge), edge.source
    depth = 0
    while depth < min(len(reached), len(source)) - 1 and reached[depth] == source[depth]:
        depth += 1
    folder = "/".join(source[:depth])
    order = ORDER.get(folder, ())
    if depth and reached[depth] in order and source[depth] in order:
        if order.index(reached[depth]) > order.index(source[depth]):
            return "%r: against the order inside %s" % (edge, folder)
    return None


def test_imports_run_downwards():
    assert [problem for problem in map(floor_problem, OWN) if problem] == []


def test_imports_inside_a_room_keep_its_order():
    assert [problem for problem in map(order_problem, OWN) if problem] == []


def circle(graph):
    """A list of modules that form an import cycle, or []."""
    done = set()

    def visit(node, way):
        if node in way:
            return way[way.index(node):] + [node]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            found = visit(following, way + [node])
            if found:
                return found
        done.add(node)
        return []

    for node in sorted(graph):
        found = visit(node, [])
        if found:
            return found
    return []


def test_no_circle():
    graph = {}
    for edge in OWN:
        reached = target(edge)
        if reached and reached != edge.source:
            graph.setdefault(edge.source, set()).add(reached)
    assert [".".join(node) for node in circle(graph)] == []


OTHER_SYSTEMS = ("msvcrt", "winreg")


def is_standard(name):
    """Whether a top-level module belongs to CPython, on whichever version this is."""
    known = getattr(sys, "stdlib_module_names", None)
    if known is not None:
        return name in known
    if name in sys.builtin_module_names or name in OTHER_SYSTEMS:
        return True
    import importlib.util

    spec = importlib.util.find_spec(name)
    return spec is not None and "site-packages" not in (spec.origin or "site-packages")


def test_packages_of_others_in_one_file_each():
    wrong = []
    for edge in EDGES:
        top = edge.name.split(".")[0]
        if top in OPTIONAL:
            if not edge.path.startswith(OPTIONAL[top]) or not edge.late:
                wrong.append("%r: only late and in %s" % (edge, OPTIONAL[top]))
        elif top not in (PROGRAM, "phenmail") and not is_standard(top):
            wrong.append("%r: a package that nobody needs" % edge)
    assert wrong == []


def test_what_is_somebodys_own_business():
    assert [edge for edge in EDGES
            if edge.name.split(".")[0] in ONLY
            and not edge.path.startswith(ONLY[edge.name.split(".")[0]] or "-")] == []


def test_one_function_turns_names_into_a_labels():
    """The codec "idna" is IDNA 2003, which makes others' names of some."""
    found = [path for path in sources() if "encode(\"idna\")" in read_source(path)]
    assert found == ["text/domains.py"]


def test_heavy_modules_come_late():
    assert [edge for edge in EDGES if edge.name.split(".")[0] in HEAVY and not edge.late] == []


# The program is the only place for these (rules of the house).
PROCESS_WIDE = {("os", "environ"), ("os", "getenv"), ("os", "chdir"), ("os", "umask"),
                ("os", "_exit"), ("sys", "exit"), ("sys", "argv"), ("signal", "signal"),
                ("logging", "basicConfig"), ("select", "select"), ("os", "fork")}

# Not imported by anybody but exec'ed: each is a process of its own, with the standard library
# alone.
IN_CHILDREN = ("children/program_child.py", "children/python_child.py", "children/python_run.py",
               "children/python_limits.py", "children/child_side.py")
PROGRAMS = ("phenmail.py",) + IN_CHILDREN


def attributes(path):
    """(line, (module, attribute)) wherever a file uses a module that it imports whole."""
    imported = {edge.name for edge in EDGES if edge.path == path}
    for node in ast.walk(tree_of(path)):
        if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                and node.value.id in imported):
            yield node.lineno, (node.value.id, node.attr)


def test_rooms_leave_the_process_alone():
    assert ["%s:%d %s.%s" % ((path, line) + name) for path in sources() if path not in PROGRAMS
            for line, name in attributes(path) if name in PROCESS_WIDE] == []


def test_children_import_the_standard_library_and_each_other():
    known = {dotted(path) for path in IN_CHILDREN + ("children/interpreter.py",)}
    for path in IN_CHILDREN:
        edges = [edge for edge in EDGES if edge.path == path]
        assert [edge for edge in edges if edge not in OWN
                and not is_standard(edge.name.split(".")[0])] == []
        assert [edge for edge in OWN if edge.path == path and target(edge) not in known] == []
    for path in IN_CHILDREN[:2]:
        assert [edge for edge in OWN if target(edge) == dotted(path)] == [], (
            "nobody imports what is exec'ed")


@pytest.mark.parametrize("path, text, words", [
    ("net/lines.py", "from ..store import errors", "runs up or sideways"),
    ("net/lines.py", "import phenmail_protocols.mail.address", "runs up or sideways"),
    ("smtp/grammar.py", "from phenmail_protocols.imap import grammar", "runs up or sideways"),
    ("store/account.py", "def f():\n    from ..delivery import router", "runs up or sideways"),
])
def test_a_wrong_edge_is_seen(path, text, words):
    found = [floor_problem(edge) for edge in edges_of(path, ast.parse(text))]
    assert len(found) == 1 and words in (found[0] or "")


def test_a_wrong_order_is_seen():
    edge, = edges_of("config/scanner.py", ast.parse("from .loader import parse"))
    assert "against the order" in order_problem(edge)
    edge, = edges_of("store/maildir/listing.py", ast.parse("from ..account import Account"))
    assert "against the order inside store" in order_problem(edge)
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
