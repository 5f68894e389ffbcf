"""What drives the servers: raw sockets, nothing that costs more than it must."""
