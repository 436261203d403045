"""`gateway-plugin demo`: the whole chain on one machine, all of it real, with a live table or checks."""
