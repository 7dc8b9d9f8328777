"""API keys at the door of the REST API."""
