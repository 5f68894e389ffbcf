"""The durable queue: messages that wait to be sent or delivered, their retries and bounces.

    model        a queued message and its recipients
    retry        when a recipient is retried after 4xx, and when it is given up
    bounces      who gets a bounce or another report
    spool        what is on the disk; its files: spool_files, state_file
    schedule     in memory: what is due, and who gets a connection
    attempt      one delivery attempt
    worker       the threads
"""
