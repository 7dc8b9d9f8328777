"""The inbox: notifications, one delivery a recipient. Source: docs/explanation/outbox.md."""
