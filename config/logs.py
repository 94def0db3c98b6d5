"""What never gets into a log: the token in a payment page's address, which is the buyer's key to it."""

import logging
import re

TOKEN = re.compile(r"(/checkout/)[A-Za-z0-9_-]+")


class HideTokens(logging.Filter):
    """Blank the tokens of payment pages in whatever is logged, by us or by Django."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if TOKEN.search(said):
            record.msg, record.args = TOKEN.sub(r"\1...", said), ()
        return True
