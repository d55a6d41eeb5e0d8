"""What a group, a task, a parameter and a metric are: pure data and functions."""
