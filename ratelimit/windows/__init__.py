"""What is spent in a minute, and what is admitted."""
