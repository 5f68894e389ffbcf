"""Sockets of servers: listeners, connections, TLS, line and dot framing. Knows no protocol's commands."""
