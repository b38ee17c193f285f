"""Real-time moderation of profile pictures on Kafka."""

__version__ = "0.1.0"
