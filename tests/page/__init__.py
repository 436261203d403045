"""The live page in a real browser: `make test-page`; and what its viewers cost."""
