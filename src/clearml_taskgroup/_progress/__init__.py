"""The progress display of a sweep."""
