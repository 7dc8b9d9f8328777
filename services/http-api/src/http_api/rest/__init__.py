"""What every endpoint of the REST API shares: strict JSON in, problem documents out."""
