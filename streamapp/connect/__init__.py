"""Kafka Connect, by its REST API: connectors that load the results topic into warehouses."""
