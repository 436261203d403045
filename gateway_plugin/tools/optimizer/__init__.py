"""The optimizer as a service."""
