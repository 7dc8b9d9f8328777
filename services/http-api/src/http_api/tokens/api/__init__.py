"""The REST API of connection tokens."""
