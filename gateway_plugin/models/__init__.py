"""The models that are served: catalogue, its store, the live view, webhooks."""
