"""Liveness and readiness, answered before anything else of Django runs."""
