"""What a QR code says that a shop shows for one amount: EMVCo's merchant-presented mode, version 1.1.

Each part is a tag of two digits, a length of two digits and a value; parts may hold parts. The last part is a checksum over all the others.
Only plain letters are written: whatever the shop's name has besides is left out or spelled with them.
"""

import binascii
import unicodedata

from payments.sandbox.amounts import digits_of, plain

ONE_TIME = "12"  # the code is good for one payment
MERCHANT_ACCOUNT, ADDITIONAL_DATA = "26", "62"
REFERENCE_LABEL = "05"
OURS = "payments.sandbox"  # says whose the merchant account is
LONGEST_VALUE, LONGEST_NAME = 99, 25
SHOPS = "5999"  # category of the merchant: other shops
_NUMBERED = "EUR978 USD840 GBP826 CHF756 SEK752 JPY392 CNY156 HKD344 SGD702 THB764 MYR458 IDR360 VND704 PHP608 INR356 KRW410 BRL986"
NUMBERS = {pair[:3]: pair[3:] for pair in _NUMBERED.split()}  # ISO 4217's numbers of the currencies that QR codes can be paid in


def code(*, address: str, reference: str, amount: int, currency: str, merchant: str) -> str:
    """Return what the code says; `amount` in minor units, `address` is the page on which the phone approves.

    An address that is too long for a code is left out; the reference says the same.
    """
    account = _part("00", OURS) + _part("01", reference)
    with_address = account + _part("02", address) if len(address) <= LONGEST_VALUE else account
    parts = [
        _part("00", "01"),
        _part("01", ONE_TIME),
        _part(MERCHANT_ACCOUNT, with_address if len(with_address) <= LONGEST_VALUE else account),
        _part("52", SHOPS),
        _part("53", NUMBERS[currency]),
        _part("54", plain(amount, digits_of(currency))),
        _part("58", "AT"),
        _part("59", plain_letters(merchant)[:LONGEST_NAME].strip() or "SANDBOX SHOP"),
        _part("60", "WIEN"),
        _part(ADDITIONAL_DATA, _part(REFERENCE_LABEL, reference)),
    ]
    text = "".join(parts) + "6304"
    return text + checksum(text)


def _part(tag: str, value: str) -> str:
    return f"{tag}{len(value):02}{value}"


def checksum(text: str) -> str:
    """Return the four hexadecimal digits of CRC-16 with polynomial 1021 and initial value FFFF (CCITT-FALSE)."""
    return f"{binascii.crc_hqx(text.encode(), 0xFFFF):04X}"


def plain_letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if " " <= letter <= "~").strip()
