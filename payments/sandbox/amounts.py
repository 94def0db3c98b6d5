"""Amounts as people read them. On the wire and in the tables they are whole minor units."""

MINOR_DIGITS = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"], 0),
    **dict.fromkeys(["XOF", "XPF", "ISK", "UYI"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}


SEPARATORS = {"de": (".", ","), "es": (".", ","), "fr": ("\u202f", ",")}  # of thousands, and of decimals


def shown(amount: int, currency: str, *, language: str) -> str:
    """Return "1,234.50 EUR", or "1.234,50 EUR" in German; in Arabic too it is read from left to right."""
    digits = digits_of(currency)
    whole, minor = divmod(amount, 10**digits)
    thousands, point = SEPARATORS.get(language, (",", "."))
    text = f"{whole:,}".replace(",", thousands) + (f"{point}{minor:0{digits}d}" if digits else "") + f"\u00a0{currency}"
    return f"\u2066{text}\u2069" if language == "ar" else text


def digits_of(currency: str) -> int:
    """Return how many decimals the currency has."""
    return MINOR_DIGITS.get(currency, 2)


def plain(amount: int, digits: int, *, point: str = ".") -> str:
    """Return an amount of minor units as files have it: "1234.50", "-0.05", and of a currency without decimals "1234"."""
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    if not digits:
        return f"{sign}{size}"
    whole, minor = divmod(size, 10**digits)
    return f"{sign}{whole}{point}{minor:0{digits}d}"
