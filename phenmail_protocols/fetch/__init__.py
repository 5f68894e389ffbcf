"""Fetching: mail from other servers is delivered here, each message exactly once.

A user's mail-fetcher.jcfg names accounts on other servers. A thread opens a `source.Source` for an
account, delivers what is new, and only then removes it there, if the user wants that.

What a crash leaves, at any step:

    arriving                a temporary file, which the start removes; the message is read again
    delivered               the mailbox has the message. The file's name says which message of
                            which account it is (`identity.name_key`), so it is not fetched again
    noted                   the account's state file has the message's key
    removed at the source   it is here

service (all accounts) -> job (one account) -> rounds -> opening (imap, pop: the sources), filing
(through the router), keeping (what was fetched before); adopting copies a whole account at once.
"""
