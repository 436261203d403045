"""The OpenAI wire format and nothing else: endpoints, request heads, error bodies."""
