"""Mail on its way out: the durable queue, where it goes, how it is signed and sent.

model (values) <- schedule (when again) <- spool (files) <- routes (DNS) <- sts, dane, policies (TLS) <- signing (DKIM)
<- client (one connection) <- courier (one destination) <- reports (what senders are told) <- worker (the threads).
"""
