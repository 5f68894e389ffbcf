"""How many automatic answers may be sent, to one sender and in all. In memory, bounded.

RFC 3834 section 2: a responder must limit its rate, because senders are easily forged and messages
easily repeated.
"""
import threading
import time

SECONDS = 3600.0
TO_ONE = 3  # answers to one sender in SECONDS
IN_ALL = 60  # answers of one responder in SECONDS
_MOST_RESPONDERS = 256


class AnswerRate:
    """Any thread may ask. `clock()`: seconds."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        # responder -> [(when, sender, message), …], at most IN_ALL; least recently used first
        self._answers = {}

    def take(self, responder, sender, message):
        """Count an answer -> "", or why none may be sent now, in words for a log line.

        `responder`: who answers, any hashable; `sender`: of automatic.correspondent; `message`: the
        id of the answered message, which counts once, even if it is retried.
        """
        now = self._clock()
        with self._lock:
            answers = [each for each in self._answers.pop(responder, ()) if now - each[0] < SECONDS]
            while len(self._answers) >= _MOST_RESPONDERS:
                del self._answers[next(iter(self._answers))]
            self._answers[responder] = answers
            if any([each[1:] == (sender, message) for each in answers]):
                return ""
            if len(answers) >= IN_ALL:
                return "%d answers were sent within the last hour" % IN_ALL
            if sum([each[1] == sender for each in answers]) >= TO_ONE:
                return "its sender got %d answers within the last hour" % TO_ONE
            answers.append((now, sender, message))
            return ""
