"""Figures, as plotly's JSON: pure, and plotly is not needed. `figures.py` is their public face."""
