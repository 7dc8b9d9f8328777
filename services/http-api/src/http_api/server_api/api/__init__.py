"""The server API over HTTP."""
