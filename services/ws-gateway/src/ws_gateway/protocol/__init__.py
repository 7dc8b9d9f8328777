"""Centrifugo's client protocol, sans I/O: commands and events in, replies and effects out."""
