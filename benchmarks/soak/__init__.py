"""Soak: many requests, clients that go away, pods that come and go, a store that is killed; and what stays."""
