"""Replicas of the gateway tell each other through Redis what they have under way."""
