"""The outbox: publications that leave with their transaction. Source: docs/explanation/outbox.md; ADR-0005."""
