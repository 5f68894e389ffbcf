"""The durable queue and its worker: messages that wait to be sent or handed on."""
