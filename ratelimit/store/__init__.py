"""Where limits are kept: this process or a Redis server."""
