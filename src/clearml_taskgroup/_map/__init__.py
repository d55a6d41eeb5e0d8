"""`group.map`, and tasks in other processes."""
