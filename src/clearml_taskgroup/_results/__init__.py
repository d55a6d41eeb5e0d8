"""What tasks reported, as rows to compare, export and load again."""
