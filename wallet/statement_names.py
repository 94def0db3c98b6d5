"""How card statements name a shop: what such a name may hold, and how it is made of a name that may hold more.

5 to 22 characters, one of them a letter at least, and none of < > \\ ' " * (Stripe's rule for statement descriptors; Adyen's `shopperStatement`
has at most 22 as well).  Of what PSPs allow, we use letters from A to Z, digits, blanks and . - & alone.  Knows no tables: the settings are
judged by it too.
"""

import re
import unicodedata

LONGEST = 22
RULE = "5 to 22 letters from A to Z, digits, blanks and . - &, with a letter among them"
FIT = re.compile(r"(?=.*[A-Za-z])(?! )[A-Za-z0-9 .&-]{5,22}(?<! )")


def is_fit(name: str) -> bool:
    """May it stand on a statement as it is?"""
    return FIT.fullmatch(name) is not None


def made_of(name: str, *, platform: str) -> str:
    """Return the name as statements show it: capitals without accents, at most 22 characters.

    One that is too short, or has no letter, is followed by the platform's own, which is fit.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().upper()
    kept = " ".join("".join(character if character.isalnum() or character in ".-&" else " " for character in plain).split())
    shown = kept[:LONGEST].strip()
    if is_fit(shown):
        return shown
    kept = kept if any(character.isalnum() for character in kept) else ""
    room = max(LONGEST - len(platform) - 1, 0)
    return f"{kept[:room].strip()} {platform.upper()}".strip()
