"""Engine metrics: names per engine, page parsing, the scrape loop."""
