"""Measurements of this machine; none of them is asserted in a test."""
