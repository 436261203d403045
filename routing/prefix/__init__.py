"""Which pod holds which prompt."""
