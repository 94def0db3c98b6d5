"""What the benchmarks are made of: databases to measure on, ways to run the same work, figures and their table."""
