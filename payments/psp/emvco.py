"""Reading what a QR code says that a shop shows for one amount (EMVCo, merchant-presented): a code of another amount is never shown.

Each part is a tag of two digits, a length of two digits and a value; the last part is a checksum over all the others.
"""

import binascii
import re

from djmoney.money import Money
from moneyed import CURRENCIES

from ledger.errors import DomainError
from ledger.money import exact

LONGEST_CODE = 512
PART = re.compile(r"(?P<tag>\d\d)(?P<length>\d\d)")
VERSION, CURRENCY, AMOUNT, CHECKSUM = "00", "53", "54", "63"


class NotACode(ValueError):
    """The text is not what a QR code of this kind says."""


def parts_of(text: str) -> dict[str, str]:
    """Return the parts by their tags.  Raises NotACode: a part is cut off or comes twice, or the checksum is of another text."""
    parts: dict[str, str] = {}
    place = 0
    while place < len(text):
        head = PART.match(text, place)
        if head is None or head["tag"] in parts or head.end() + int(head["length"]) > len(text):
            raise NotACode("a part of the code cannot be read")
        place = head.end() + int(head["length"])
        parts[head["tag"]] = text[head.end() : place]
    if list(parts)[:1] != [VERSION] or parts[VERSION] != "01" or list(parts)[-1] != CHECKSUM:
        raise NotACode("the code is of another kind")
    if parts[CHECKSUM] != checksum(text[:-4]):
        raise NotACode("the code's checksum is of another text")
    return parts


def checksum(text: str) -> str:
    """Return the four hexadecimal digits of CRC-16 with polynomial 1021 and initial value FFFF (CCITT-FALSE)."""
    return f"{binascii.crc_hqx(text.encode(), 0xFFFF):04X}"


def is_code_for(amount: Money, text: str) -> bool:
    """Tell whether the text is a code by which exactly this amount is asked for."""
    try:
        parts = parts_of(text) if len(text) <= LONGEST_CODE and text.isprintable() else {}
        currency = amount.currency.code
        return parts.get(CURRENCY) == CURRENCIES[currency].numeric and exact(parts.get(AMOUNT, ""), currency) == amount
    except (NotACode, DomainError):
        return False
