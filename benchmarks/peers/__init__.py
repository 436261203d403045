"""Ours and other gateways in one run: CPU of all processes, time to first byte, idle, memory."""
