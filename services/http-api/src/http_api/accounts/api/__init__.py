"""The REST API of whoever is signed in."""
