"""Tokens: what a client shows to a gateway."""
