"""Several GPU types by plan against one type alone, in virtual time."""
