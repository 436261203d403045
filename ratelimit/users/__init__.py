"""Users, their keys, and what is remembered of them."""
