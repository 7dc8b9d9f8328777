"""The WebSocket gateway: what is published to a channel reaches every client that joined it here."""
