"""Who may log in, and where an address ends.

Begin reading at `directory.py`: it resolves addresses and makes the `Login` of each connection.
`sasl.py` has the mechanisms, `passphrases.py` the stored forms, `throttle.py` the brakes.
"""
