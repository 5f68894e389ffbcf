"""IMAP over TLS: login, SELECT, LOGOUT, each on a new connection, with secrets as they are made by
default."""
from .clients.logins import run as log_in
from .peers.phenmail import Phenmail
from .table import Row, alone, median

BAR = 50.0
LOGINS = 150  # a process
PROCESSES = 2


def run(bench):
    """The rate, and what server and client pay for one."""
    server = Phenmail(bench.folder("phenmail"), bench.python).start()
    try:
        log_in(server.ports["imaps"], 5, 1)
        rates, costs, ours = [], [], []
        for _ in range(bench.rounds):
            before = server.child.processor_seconds()
            rate, cost = log_in(server.ports["imaps"], LOGINS, PROCESSES)
            rates.append(rate)
            costs.append(cost)
            ours.append((server.child.processor_seconds() - before) / (LOGINS * PROCESSES))
            bench.say("%.0f logins a second" % rate)
        yield alone("IMAPS login, SELECT, LOGOUT", median(rates), "%.0f/s", at_least=BAR)
        yield Row("  processor time a login, phenmail", "%.1f ms" % (1e3 * median(ours)))
        yield Row("  processor time a login, the client", "%.1f ms" % (1e3 * median(costs)))
    finally:
        server.stop()
