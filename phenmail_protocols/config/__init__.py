"""Configuration: files with comments become immutable, checked values.

Begin reading at `schema.py` (what may be written) and `settings.py` (what comes out). On the way:
`scanner` finds the values in the text, `documents` merges included files, `checks` has the kinds
of values, and `build` makes the settings. `loader` calls them.
"""
