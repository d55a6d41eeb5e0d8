"""Auto-logging: what ClearML's bindings log inside of a task's block goes to that task."""
