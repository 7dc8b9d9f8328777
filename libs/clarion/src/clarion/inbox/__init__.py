"""The inbox: notifications, one delivery a recipient. Source: docs/explanation/outbox.md; DESIGN section 7."""
