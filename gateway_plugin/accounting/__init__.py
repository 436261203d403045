"""What a finished exchange teaches: tokens to the limiter, latency to the pod table, outcomes to the metrics."""
