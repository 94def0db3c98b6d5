"""The field :86: of SWIFT's statements: who, what for, and the references, in the three ways in which banks write it.

German banks: a code of three digits and fields of two digits after a sign (`166?20EREF+po-1?21SVWZ+Shoes?32Anna`).  Dutch banks: words
between slashes (`/EREF/po-1/NAME/Anna/REMI/Shoes`).  All others: text.
"""

import re
from collections.abc import Mapping, Sequence

from reconciliation.formats.records import BankLine
from reconciliation.formats.swift import NO_REFERENCE, kept

_german = re.compile(r"([0-9]{3})([?<>~^|&@#$%!])[0-9]{2}").match
_sepa = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|COAM|OAMT|SVWZ|ABWA|ABWE|IBAN|BIC)\+")
_word = re.compile(r"/(EREF|PREF|MARF|TRTP|IBAN|BIC|NAME|BENM|ORDP|REMI|CREF|PURP|ULTD|ULTB|ULTC|RTRN|CSID|ISDT|ADDR|SVCL)/")
_reason = re.compile(r"[A-Z]{2}(?:[A-Z]{2}|[0-9]{2})").fullmatch
_TEXT_FIELDS = (*(str(number) for number in range(20, 30)), "60", "61", "62", "63")


def told(line: BankLine, lines: Sequence[str]) -> BankLine:
    """Return the line with what the field says about it."""
    whole = "".join(lines)
    german = _german(whole)
    if german:
        return _told_in_fields(line, german[1], whole[4:].split(german[2]))
    if _word.match(whole):
        return _told_in_words(line, _split(_word, whole))
    return line._replace(text=kept(" ".join(text.strip() for text in lines)) or line.text)


def _told_in_fields(line: BankLine, code: str, fields: Sequence[str]) -> BankLine:
    said = {field[:2]: field[2:] for field in fields}
    purpose = "".join(said.get(number, "") for number in _TEXT_FIELDS)
    sepa = _split(_sepa, purpose)
    return line._replace(
        end_to_end_id=_reference(sepa.get("EREF", "")) or line.end_to_end_id,
        batch_reference=_reference(sepa.get("KREF", "")),
        counterparty=kept(said.get("32", "") + said.get("33", "")),
        counterparty_account=kept(said.get("38") or said.get("31") or sepa.get("IBAN", "")),
        text=kept(sepa.get("SVWZ") or purpose) or kept(said.get("00", "")) or line.text,
        code=f"{line.code}-{code}",
        return_reason=said["34"] if _reason(said.get("34", "")) else "",  # others have figures of their own there
    )


def _told_in_words(line: BankLine, said: Mapping[str, str]) -> BankLine:
    return line._replace(
        end_to_end_id=_reference(said.get("EREF", "")) or line.end_to_end_id,
        batch_reference=_reference(said.get("PREF", "")),
        counterparty=kept(said.get("NAME", "")),
        counterparty_account=kept(said.get("IBAN", "")),
        text=kept(said.get("REMI", "").removeprefix("USTD//").removeprefix("/USTD//")) or line.text,
        return_reason=kept(said.get("RTRN", "")),
    )


def _split(word: re.Pattern[str], text: str) -> dict[str, str]:
    """Return what follows each word, up to the next; the first of a word counts."""
    pieces = word.split(text)
    said: dict[str, str] = {}
    for name, value in zip(pieces[1::2], pieces[2::2], strict=True):
        said.setdefault(name, value.strip("/ "))
    return said


def _reference(text: str) -> str:
    return "" if text.strip() in NO_REFERENCE else kept(text)
