"""The notifier: drains the outbox into the channel layer. Run it with ``python -m notifier``."""
