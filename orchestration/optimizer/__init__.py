"""Which GPUs serve what at the fewest cost: requests by their lengths, what each GPU type does of each, and a plan."""
