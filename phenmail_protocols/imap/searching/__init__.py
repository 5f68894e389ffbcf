"""What SEARCH, SORT and THREAD find out about messages, and how results are sent.

search_bounds   which messages the index of words can exclude (BODY, TEXT)
search_fields   which messages match by header fields, from the store's index
search_message  a message that has to be read for a search
search_result   SEARCH and ESEARCH responses, and the saved result "$"
sort_keys       what SORT and THREAD compare (RFC 5256)
threads         THREAD's algorithms
stepwise        sorting in steps, so that others get their turns
"""
