"""The HTTP APIs: routers and their schemas."""
