"""Benchmarks beside other servers: ``python3 -m tests.bench [row …]``.

Each row starts what it compares in temporary folders, on free ports of the
loopback, with configuration of its own, lets the servers take turns in one run
and gives medians. A figure says little without its neighbour from the same run.

Run it on a machine that does nothing else, with ``--folder`` in a directory
where little was deleted of late: for some minutes ext4 looks past the inodes of
deleted files, and a new file costs ten times as much processor time (0.2 ms).

    peers/     the servers, each a program of its own, ended by its process id
    clients/   what drives them; the same for all, and cheap
    messages   the mail and the Maildirs
    a row's file   (delivery, large, mailbox, …) what is measured, and the bar
"""
