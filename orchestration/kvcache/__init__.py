"""KVCaches: what one asks for, in either generation of its fields, and the objects that it becomes."""
