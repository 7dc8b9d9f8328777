"""API keys: how a service proves who it is and what it may do."""
