"""The REST service of Clarion: publish, tokens, notifications, sign-in, admin."""
