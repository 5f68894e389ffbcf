"""Sending mail to other servers.

service (the whole) -> courier (one destination), smarthost
courier -> mx_routes (hosts, addresses), tls_policy (mta_sts, dane), smtp_client
smtp_client -> smtp_transaction (MAIL to the final dot) -> smtp_wire (bytes, TLS, deadlines)
-> smtp_replies

The queue is in `queue`, DKIM signing in `dkim`.
"""
