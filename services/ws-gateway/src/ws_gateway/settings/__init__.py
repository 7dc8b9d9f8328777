"""Django's settings of the gateway: it reads users and sessions, and migrates nothing."""
