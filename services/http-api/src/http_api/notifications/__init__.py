"""Notifications by HTTP, and their rows in the admin. The tables are ``clarion.inbox``'s and ``clarion.outbox``'s."""
