"""Django settings: ``base`` for every deployment (they differ by environment only), ``test`` for tests."""
