"""Mail on its way out: the durable queue, where it goes, how it is signed and sent.

model (values) <- schedule (when again) <- spool (files) <- lookup (DNS) <- routes (where to) <- sts, dane, policies (TLS)
<- signing (DKIM) <- client (one connection) <- courier (one destination) <- reports (what senders are told) <- worker (the threads).
"""
