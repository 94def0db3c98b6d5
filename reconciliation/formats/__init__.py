"""The files that PSPs and banks send: one parser per format, from bytes to the records of records.py.

A parser reads a binary stream from its beginning to its end and yields records as it goes, so that memory stays flat whatever the size.  It
knows nothing of our books and of Django.  What it cannot read it refuses with line and reason (`MalformedFile`), never with a guess.
"""
