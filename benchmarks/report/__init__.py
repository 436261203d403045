"""The report: docs/benchmarks.md, its images, and the README's part, written from a folder of results alone."""
