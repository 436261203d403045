"""The plan of the house, counted: rooms, arrows, circles, names, and the way of a request."""
