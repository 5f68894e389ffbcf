"""Forms of text that every other room shares."""
