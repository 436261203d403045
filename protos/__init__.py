"""The wire: the only package that imports Envoy's generated stubs (xds-protos, on the upb runtime)."""
