"""Sweeps that ClearML agents run: submitted here, one turn there."""
