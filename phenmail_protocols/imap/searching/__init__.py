"""How SEARCH, SORT and THREAD test and compare messages, and how results are sent.

search_bounds   asks the search index which messages cannot match (BODY, TEXT)
search_fields   asks the store's index which messages match by their header fields
search_message  a message that has to be read for a search
search_result   SEARCH and ESEARCH responses, and the saved result "$"
sort_keys       what SORT and THREAD compare (RFC 5256)
threads         THREAD's algorithms
stepwise        sorting in steps, so that other threads get a turn
"""
