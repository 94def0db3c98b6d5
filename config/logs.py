"""What never gets into a log: the token in a payment page's address, which is the buyer's key to it, and what a shop calls its buyer."""

import logging
import re

# A shop's own id of a buyer may be an e-mail address, and may have spaces and slashes: all that follows goes.
HIDDEN = re.compile(r"(/checkout/)[A-Za-z0-9_-]+|(/v1/buyers/).+")


class HideTokens(logging.Filter):
    """Blank the tokens of payment pages and the names of buyers in whatever is logged, by us or by Django."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if HIDDEN.search(said):
            record.msg, record.args = HIDDEN.sub(r"\1\2...", said), ()
        return True
