"""The fault harness: kills, power cuts, full disks, deleted indexes and moving clocks against the
store and the server."""
