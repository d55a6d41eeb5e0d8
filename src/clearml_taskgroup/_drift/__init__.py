"""Which names that tasks logged look like one metric: words, splits, abbreviations, misspellings. Pure."""
