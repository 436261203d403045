"""HTTP for people and probes: users, models, health, metrics, debugging."""
