"""What the words ``queue`` and ``dns`` do, from a root folder to text.

They read the configuration themselves, so they work beside a running server and without one.  Each gives (text, whether all is
well); what goes wrong is raised as ConfigError, OSError or ValueError for whoever shows it.
"""
import json
import time

from ..config import loader
from ..queue.spool import Spool, SpoolError
from . import queue

ORDERS = {"retry": queue.retry, "hold": queue.hold, "release": queue.release}


def queue_list(root, as_json=False):
    """What waits."""
    spool = _spool(root)
    return _told(lambda: json.dumps(queue.list_values(spool), indent=1) if as_json
                 else "\n".join(queue.list_lines(spool, time.time())))


def queue_show(root, identity, as_json=False):
    """One message that waits."""
    spool = _spool(root)
    return _told(lambda: json.dumps(queue.show_values(spool, identity), indent=1) if as_json
                 else "\n".join(queue.show_lines(spool, identity, time.time())))


def queue_order(root, order, identity, bounce=False, as_json=False):
    """`order`: a key of ORDERS, or "drop"; `bounce`: the sender of what is dropped is told."""
    spool = _spool(root)

    def follow():
        return queue.drop(spool, identity, bounce) if order == "drop" else ORDERS[order](spool, identity)
    try:
        results = follow()
    except SpoolError as error:
        raise ValueError("the queue can't be read: %s" % error)
    text = (json.dumps([result._asdict() for result in results], indent=1) if as_json
            else "\n".join([result.text for result in results]) or "The queue is empty.")
    return text, all(result.done for result in results)


def _told(look):
    try:
        return look(), True
    except SpoolError as error:
        raise ValueError(str(error))


def _spool(root):
    return Spool(loader.load_server(root).queue.queue_folder)


def dns(root, live=False, as_json=False):
    """The records that this configuration needs; `live`: compared with what the DNS says."""
    from ..dkim.signing import Signer
    from . import dnscheck, dnsrecords
    settings = loader.load_server(root)
    signer = Signer(settings.queue, lambda: settings.domains, settings.sender_domain)
    wanted = dnsrecords.domains(settings, signer.public_record())
    if not live:
        return dnsrecords.as_json(wanted) if as_json else dnsrecords.zone(wanted), True
    from ..relay.mx_routes import Routes
    findings = dnscheck.check(settings, wanted, Routes(settings.resolver, frozenset, frozenset))
    text = dnscheck.as_json(findings) if as_json else dnscheck.report(findings)
    return text, all(finding.state == dnscheck.RIGHT for finding in findings)
