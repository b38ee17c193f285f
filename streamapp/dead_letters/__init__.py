"""Dead letters: reading them, and sending them back to the events topic."""
