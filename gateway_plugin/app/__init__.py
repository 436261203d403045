"""Composition: build, start, drain, stop."""
