"""Figures as plotly JSON, built without plotly. The public functions are in `figures.py`."""
