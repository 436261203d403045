"""The gateway plugin: everything that talks to Envoy, to engines, to users and to operators."""
