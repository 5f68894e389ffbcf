"""How SEARCH, SORT and THREAD test and compare messages, and how results are sent.

search_bounds   which messages the search index excludes (BODY, TEXT)
search_fields   which messages match by header fields, from the store's index
search_message  a message that has to be read for a search
search_result   SEARCH and ESEARCH responses, and the saved result "$"
sort_keys       what SORT and THREAD compare (RFC 5256)
threads         THREAD's algorithms
stepwise        sorting in steps, so that other threads get a turn
"""
