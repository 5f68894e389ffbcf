"""SPF, DKIM and DMARC of incoming mail.

`judging` is the server's side. It runs `judging_child`, a process that does the checks (`checks`,
`dmarc`). `results` is the header field Authentication-Results.
"""
