"""Routing in virtual time: the simulator's engines behind the real pod table, strategies and prefix index.

No sockets, no asyncio, one heap of events; hours of traffic take seconds, and a seed gives the same numbers again.
What is left out on purpose: Envoy, retries, limits, several replicas of the gateway, and the time of a decision.
"""
