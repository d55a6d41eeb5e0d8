"""A function for each point: here, in worker processes, on executors; tasks that are passed by hand."""
