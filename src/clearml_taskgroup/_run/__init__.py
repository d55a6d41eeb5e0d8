"""The engine of one open run: creates tasks, reports, ends, resumes."""
