"""Sandbox Payments: a payment service provider for demos and tests, a foreign company living in this repository.

It has a process, a port and a database of its own and is reached over HTTP only. It imports none of Onebook's apps and
none of them imports it. It keeps its own append-only journal, and so it is the oracle: whoever wants to know what was
really charged compares his books with that journal. `python -m payments.sandbox migrate`, then
`python -m payments.sandbox serve --port 9100`. It refuses to start in production.
"""
