"""Django's settings of the gateway: it reads users and sessions, and migrates the lab's table alone."""
