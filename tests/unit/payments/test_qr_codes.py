"""What a QR code says (EMVCo, merchant-presented): written as the standard wants it, and believed only for the amount that was asked for."""

import pytest

from ledger.money import exact
from payments.psp import emvco as read
from payments.sandbox import emvco as written

# The example of EMVCo's specification for merchant-presented codes, annex B, with its checksum.
EXAMPLE = (
    "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT6007BEIJING"
    "64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***0708A60086670902ME91320016A0112233449988770708123456786304A13A"
)
CODE = written.code(
    address="http://127.0.0.1:9100/phone/ABCDEFGHJKLM", reference="ABCDEFGHJKLM", amount=128_40, currency="EUR", merchant="Café Ülm"
)


def test_the_checksum_is_that_of_the_standard() -> None:
    for checksum in (written.checksum, read.checksum):
        assert checksum("123456789") == "29B1"
        assert checksum(EXAMPLE[:-4]) == "A13A"


def test_the_standards_example_is_read() -> None:
    parts = read.parts_of(EXAMPLE)
    assert (parts["53"], parts["54"], parts["59"]) == ("156", "23.72", "BEST TRANSPORT")
    assert read.is_code_for(exact("23.72", "CNY"), EXAMPLE)


def test_our_code_has_every_part_that_the_standard_demands() -> None:
    parts = read.parts_of(CODE)
    assert list(parts) == ["00", "01", "26", "52", "53", "54", "58", "59", "60", "62", "63"]
    assert (parts["00"], parts["01"], parts["53"], parts["54"], parts["58"]) == ("01", "12", "978", "128.40", "AT")
    assert parts["26"] == "0016payments.sandbox0112ABCDEFGHJKLM0240http://127.0.0.1:9100/phone/ABCDEFGHJKLM"
    assert parts["59"] == "Cafe Ulm"
    assert parts["62"] == "0512ABCDEFGHJKLM"


def test_a_long_name_is_cut_and_one_without_plain_letters_is_replaced() -> None:
    for merchant, said in (("A" * 60, "A" * 25), ("北京", "SANDBOX SHOP"), ("", "SANDBOX SHOP")):
        code = written.code(address="", reference="ABC", amount=1, currency="EUR", merchant=merchant)
        assert read.parts_of(code)["59"] == said


@pytest.mark.parametrize(("currency", "amount", "said"), [("JPY", 500, "500"), ("EUR", 5, "0.05"), ("VND", 9_999_999_999, "9999999999")])
def test_the_amount_has_its_currencys_decimals(currency: str, amount: int, said: str) -> None:
    code = written.code(address="http://a", reference="ABC", amount=amount, currency=currency, merchant="A")
    assert read.parts_of(code)["54"] == said
    assert read.is_code_for(exact(said, currency), code)


@pytest.mark.parametrize(
    "code",
    [
        CODE.replace("128.40", "128.41"),
        CODE[:-1],
        CODE[4:],
        CODE + CODE,
        "",
        "6304FFFF",
        "0" * 600,
        "000201\x0063046666",
        EXAMPLE,
    ],
)
def test_a_code_of_anything_else_is_not_believed(code: str) -> None:
    assert not read.is_code_for(exact("128.40", "EUR"), code)


def test_a_code_of_another_currency_is_not_believed() -> None:
    assert read.is_code_for(exact("128.40", "EUR"), CODE)
    assert not read.is_code_for(exact("128.40", "USD"), CODE)
