"""Amounts as people read them. On the wire and in the tables they are whole minor units."""

MINOR_DIGITS = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"], 0),
    **dict.fromkeys(["XOF", "XPF", "ISK"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    "CLF": 4,
}


def shown(amount: int, currency: str, *, language: str) -> str:
    """Return "1,234.50 EUR", or "1.234,50 EUR" in German."""
    digits = digits_of(currency)
    whole, minor = divmod(amount, 10**digits)
    text = f"{whole:,}" + (f".{minor:0{digits}d}" if digits else "")
    if language == "de":
        text = text.translate(str.maketrans(",.", ".,"))
    return f"{text}\u00a0{currency}"


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
