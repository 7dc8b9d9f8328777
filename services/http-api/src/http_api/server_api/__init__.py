"""Centrifugo's server API: publish, ask and command by ``POST /api/<method>``, for its clients in every language."""
