"""Management commands of API keys."""
