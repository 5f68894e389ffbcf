"""What users' rules decide about a message: where it is filed, sent on, answered or refused."""
