"""Sockets: listeners and their threads, connections, TLS, lines, and questions to the DNS."""
