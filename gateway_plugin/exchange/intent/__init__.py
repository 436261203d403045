"""What a request wants and what it may have: from headers and body to a strategy, or to a refusal."""
