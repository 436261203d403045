"""Limits: how fast admissions are, how exact, and what becomes of them while their store is away."""
