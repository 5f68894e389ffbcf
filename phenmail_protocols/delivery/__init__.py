"""The one way into a mailbox for new mail, whoever brings it.

Floor 2.  Come in through `router.Router`; `trace` writes the lines that a
message collects on its way, `submission` completes what a mail program sent.
Order: replies, trace, submission, router.
"""
