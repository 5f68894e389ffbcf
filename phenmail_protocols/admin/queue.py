"""The commands `queue list`, `show`, `retry`, `hold`, `release` and `drop`.

They work on the files of the queue, so they need no running server.
"""
import json
import time

from ..config import loader
from ..queue.spool import Spool, SpoolError
from . import queue_orders, queue_text
from .terminal import DONE, FAILED


def list_all(root, options):
    return _print(options, root, queue_text.list_values,
                  lambda spool: queue_text.list_lines(spool, time.time()))


def show(root, options, identity):
    return _print(options, root, lambda spool: queue_text.show_values(spool, identity),
                  lambda spool: queue_text.show_lines(spool, identity, time.time()))


def retry(root, options, identity):
    return _order(root, options, lambda spool: queue_orders.retry(spool, identity))


def hold(root, options, identity):
    return _order(root, options, lambda spool: queue_orders.hold(spool, identity))


def release(root, options, identity):
    return _order(root, options, lambda spool: queue_orders.release(spool, identity))


def drop(root, options, identity):
    return _order(root, options, lambda spool: queue_orders.drop(spool, identity, options.bounce))


def _print(options, root, values, lines):
    """`values(spool)`: for JSON; `lines(spool)`: for people."""
    spool = _spool(root)
    try:
        print(json.dumps(values(spool), indent=1) if options.json else "\n".join(lines(spool)))
    except SpoolError as error:
        raise ValueError(str(error))
    return DONE


def _order(root, options, order):
    try:
        results = order(_spool(root))
    except SpoolError as error:
        raise ValueError("cannot read the queue: %s" % error)
    print(json.dumps([result._asdict() for result in results], indent=1) if options.json
          else "\n".join([result.text for result in results]) or "The queue is empty.")
    return DONE if all(result.done for result in results) else FAILED


def _spool(root):
    return Spool(loader.load_server(root).relay.queue_folder)
