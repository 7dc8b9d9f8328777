"""The lab: every lesson of the Django Channels tutorials, running beside the production path."""
