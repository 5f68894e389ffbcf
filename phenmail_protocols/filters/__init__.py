"""Users' rules: where a message is filed, whether it is forwarded, answered or refused."""
