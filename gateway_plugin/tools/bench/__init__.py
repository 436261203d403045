"""Measuring a gateway from outside: load, results that can be compared, plots, reports."""
