"""The strategies: one file each, the formula first; what their texts on the wire mean; their contract."""
