"""Amounts as people read them. On the wire and in the tables they are whole minor units."""

MINOR_DIGITS = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"], 0),
    **dict.fromkeys(["XOF", "XPF", "ISK"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    "CLF": 4,
}


def shown(amount: int, currency: str, *, language: str) -> str:
    """Return "1,234.50 EUR", or "1.234,50 EUR" in German."""
    digits = MINOR_DIGITS.get(currency, 2)
    whole, minor = divmod(amount, 10**digits)
    text = f"{whole:,}" + (f".{minor:0{digits}d}" if digits else "")
    if language == "de":
        text = text.translate(str.maketrans(",.", ".,"))
    return f"{text}\u00a0{currency}"
