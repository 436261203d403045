"""What happens when the store is away."""
