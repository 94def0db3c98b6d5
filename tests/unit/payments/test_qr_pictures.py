"""The picture of a QR code is the code's modules and nothing else, and fits a page with a strict Content-Security-Policy."""

import re
from xml.etree import ElementTree

import segno

from payments import qr

TEXT = "00020101021252045999530397854061284.05802AT6304ABCD"


def test_the_picture_has_every_dark_module_and_no_other() -> None:
    drawn = ElementTree.fromstring(qr.svg(TEXT, label="Pay"))
    side = int(drawn.attrib["viewBox"].split()[-1])
    dark = [[0] * side for _ in range(side)]
    for x, y, width in re.findall(r"M(\d+) (\d+)\.5h(\d+)", drawn[1].attrib["d"]):
        for place in range(int(x), int(x) + int(width)):
            dark[int(y)][place] = 1
    code = segno.make(TEXT, error="m", micro=False, boost_error=False)
    assert dark == [list(row) for row in code.matrix_iter(border=4)]
    assert not any(any(row) for row in [*dark[:4], *dark[-4:]]), "the quiet zone is quiet"


def test_the_picture_says_what_it_is_and_brings_no_style() -> None:
    picture = qr.svg(TEXT, label='Pay "Northwind" <now>')
    assert 'role="img"' in picture
    assert 'aria-label="Pay &quot;Northwind&quot; &lt;now&gt;"' in picture
    assert "style" not in picture
    assert "<script" not in picture
