"""Connection tokens: what a client shows to a gateway."""
