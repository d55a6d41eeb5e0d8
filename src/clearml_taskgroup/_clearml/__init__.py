"""All that knows ClearML: its SDK, its API and its JSON."""
