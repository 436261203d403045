"""The model route controller: every model that is served gets an HTTPRoute, a Service, and the grants between them."""
