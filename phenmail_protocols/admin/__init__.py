"""What an administrator does beside a running server."""
