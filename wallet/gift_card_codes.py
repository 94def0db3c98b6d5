"""Codes of gift cards: 95 random bits in letters that nobody mixes up, and a check character; kept as an HMAC-SHA256 alone.

The alphabet is Crockford's base32, without I, L, O and U.  The last character is Luhn's, modulo 32: a mistyped character never fits.
The HMAC's key (GIFT_CARD_PEPPER) is not in the database: whoever has the database alone can neither read a code nor try any.
"""

import base64
import hashlib
import hmac
import secrets
import unicodedata

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
READ_AS = str.maketrans("OIL", "011")
LENGTH, GROUP = 20, 4


@sensitive_variables()
def new_code() -> str:
    """Return a new code as it is shown, such as 7K2M-QX9T-0ABC-HJ4W-ZP5E."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    return grouped(letters + check_of(letters))


@sensitive_variables()
def grouped(code: str) -> str:
    return "-".join(code[at : at + GROUP] for at in range(0, len(code), GROUP))


@sensitive_variables()
def normalised(typed: str) -> str:
    """Return what was typed without spaces and dashes, in capitals, O read as 0, I and L as 1; nothing if that is no code at all."""
    plain = unicodedata.normalize("NFKC", typed[: 10 * LENGTH]).upper().translate(READ_AS)
    code = "".join(character for character in plain if character.isalnum())
    is_code = len(code) == LENGTH and set(code) <= set(ALPHABET) and check_of(code[:-1]) == code[-1]
    return code if is_code else ""


def check_of(letters: str) -> str:
    """Return the check character of the letters: Luhn's, modulo 32."""
    total = 0
    for place, letter in enumerate(reversed(letters)):
        value = ALPHABET.index(letter) * (2 if place % 2 == 0 else 1)
        total += value // len(ALPHABET) + value % len(ALPHABET)
    return ALPHABET[-total % len(ALPHABET)]


@sensitive_variables()
def hash_of(text: str) -> str:
    """Return 64 hexadecimal digits (HMAC-SHA256): what is kept of a code, and of where a wrong one came from."""
    key = base64.b64decode(settings.GIFT_CARD_PEPPER, validate=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
