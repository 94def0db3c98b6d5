"""Ways to pay: one interface (method.py), one module for each way, and registry.py, which says what can be offered."""
