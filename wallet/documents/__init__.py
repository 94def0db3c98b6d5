"""Statements and invoices as documents: CSV, camt.053 and PDF.  Each is made of the same rows (statements.py, invoices.py); nothing is asked
of the database here but those."""
