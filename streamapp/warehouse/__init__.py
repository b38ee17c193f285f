"""The local warehouse: PostgreSQL, which Kafka Connect fills from the results topic."""
