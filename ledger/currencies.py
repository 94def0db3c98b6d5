"""The currencies in use and how many decimals each counts in: ISO 4217, list one, published 2024-06-25.

Fund codes without a minor unit, metals and testing codes are left out: nobody pays with them.  A PSP that deviates from ISO 4217 has a table
of its own in its adapter.
"""

from moneyed import CURRENCIES, add_currency

_NO_MINOR_UNIT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND".split()
_TEN_THOUSANDTHS = "CLF UYW".split()
_HUNDREDTHS = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU
    CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR
    KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK
    PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD
    USN UYU UZS VED VES WST XCD YER XCG ZAR ZMW ZWG
""".split()

MINOR_UNITS: dict[str, int] = {
    **dict.fromkeys(_NO_MINOR_UNIT, 0),
    **dict.fromkeys(_HUNDREDTHS, 2),
    **dict.fromkeys(_THOUSANDTHS, 3),
    **dict.fromkeys(_TEN_THOUSANDTHS, 4),
}

# In use by ISO 4217 amendments 176 and 177, not yet known to py-moneyed.
for _code, _number, _name in (("XCG", "532", "Caribbean Guilder"), ("ZWG", "924", "Zimbabwe Gold")):
    if _code not in CURRENCIES:
        add_currency(_code, _number, 100, _name)
