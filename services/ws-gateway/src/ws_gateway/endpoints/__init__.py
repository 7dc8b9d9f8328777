"""Thin shells between the server and what the gateway speaks: one module an endpoint."""
