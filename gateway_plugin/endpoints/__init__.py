"""Which paths there are, and what each costs."""
