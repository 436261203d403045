"""`python -m gateway_plugin`: the command line where nothing was installed."""

from __future__ import annotations

from gateway_plugin.cli.application import main

main()
