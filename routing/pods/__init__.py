"""What is known of the pods: rows of one table, booked work, health, and what other replicas tell."""
