"""Sweeps that ClearML agents run: submitting them, and running one configuration on an agent."""
