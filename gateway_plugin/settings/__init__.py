"""What an operator sets: every setting with its unit and reason, and the files that settings name."""
