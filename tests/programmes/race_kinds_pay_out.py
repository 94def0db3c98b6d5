"""The kinds of races of pay-out: releases, payouts, payment files, and what banks say of them.  What must hold is said in its first line."""

from functools import partial

from ledger import clock, money
from ledger.models import JournalEntry
from payments import refunds, releases
from payments.models import DueRelease, PaymentOrder
from payouts import calls, conversions, file_answers, files, settlement
from payouts import requests as payout_requests
from payouts.models import PaymentFile, PaymentFileLine, Payout, PayoutSchedule
from payouts.providers import registry
from payouts.providers.protocol import PaidOut, PayoutReturned
from payouts.states import PayoutStatus
from tests.factories import PAID_AT_ONCE, PENDING_THEN_PAID, RETURNED_LATER, make_available, new_bank_account, new_sellers
from tests.programmes import flow_conversions, steps
from tests.programmes.flows import THREE_DAYS_S, Case
from tests.programmes.race_rounds import expect, paid, race, share
from tests.rates import quote_euro
from wallet.conversions import Wish
from wallet.models import Conversion, Seller, Wallet

AN_HOUR_S = 3600 + 60
ANSWER = """<?xml version="1.0"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
<GrpHdr><MsgId>BANK-{file}</MsgId><CreDtTm>2026-11-02T12:00:00Z</CreDtTm></GrpHdr>
<OrgnlGrpInfAndSts><OrgnlMsgId>{file}</OrgnlMsgId><GrpSts>ACSC</GrpSts></OrgnlGrpInfAndSts>
</CstmrPmtStsRpt></Document>"""  # the bank has paid the whole file


def release_against_refund(case: Case) -> list[str]:
    """An order is delivered, released and refunded at once: what goes back is taken once, from where it is by then (BUG-17)."""
    order = paid(case).orders.order_by("id")[0]
    said = partial(deliver, order)
    wish = partial(refunds.request_refund, order.pk, amount=share(order, 30), reason="", now=clock.now())
    _answers, broken = race(said, wish, said, *[steps.release] * 2, wish, said)
    _answers, again = race(*[steps.release] * 2, *[steps.execute_refunds] * 2, wish, *[steps.release] * 2)
    steps.execute_refunds()
    case.house.advance(AN_HOUR_S)  # what a refund under way has put off
    steps.release()
    order.refresh_from_db()
    entries = JournalEntry.objects.filter(reference=f"{order.public_id}:release").count()
    is_over = order.released_at is not None and not order.unreleased
    return broken + again + expect(is_over and entries == 1, f"{order.public_id} was released by {entries} entries")


def two_release_sweeps(case: Case) -> list[str]:
    """Several sweeps at many deliveries: each order is released by one."""
    orders = [order for _basket in range(4) for order in paid(case).orders.order_by("id")]
    for order in orders:
        deliver(order)
    _answers, broken = race(*[steps.release] * 4)
    entries = JournalEntry.objects.filter(reference__in=[f"{order.public_id}:release" for order in orders]).count()
    left = DueRelease.objects.filter(order__in=orders).count()
    return broken + expect((entries, left) == (len(orders), 0), f"{entries} entries and {left} left of {len(orders)} orders")


def payout_against_payout(case: Case) -> list[str]:
    """Many payouts of one seller at once, and several workers: never more leaves than is available, and each once (INV-04, INV-15)."""
    seller = case.seller_with(10_000, account=case.chance.choice((PAID_AT_ONCE, PENDING_THEN_PAID)))
    wishes = [partial(ask_for_payout, seller, units) for units in (3_000, 4_000, 10_000)] * 3
    _answers, broken = race(*wishes, *[partial(ask_for_payout, seller, 2_000, once="one wish")] * 4)
    _answers, again = race(*[steps.execute_payouts] * 4, partial(ask_for_payout, seller, 1_000))
    taken = sum(money.to_minor(payout.amount) for payout in case.payouts())
    left = money.to_minor(Wallet.objects.get(seller=seller).available)
    named = Payout.objects.filter(seller=seller, once="one wish").count()
    return broken + again + expect(left >= 0 and taken + left == 10_000 and named <= 1, f"{taken} were taken of 10000, {left} are left")


def payout_against_refund(case: Case) -> list[str]:
    """A seller is paid out while the buyer gets the money back: the rest is owed by the seller, and nothing is taken twice (INV-04)."""
    order = paid(case).orders.order_by("id")[0]
    deliver(order)
    steps.release()
    seller = order.seller
    case.paid_out.append(seller.pk)
    if not seller.bank_accounts.exists():
        new_bank_account(seller, PAID_AT_ONCE)
    refund = partial(refunds.request_refund, order.pk, amount=share(order, 50), reason="", now=clock.now())
    everything = partial(payout_requests.request_payout, seller, currency="EUR", now=clock.now())
    _answers, broken = race(*[everything] * 3, *[refund] * 3, *[steps.execute_refunds] * 2)
    _answers, again = race(*[steps.execute_payouts] * 2, *[steps.execute_refunds] * 2, everything)
    return broken + again


def payout_told_by_many(case: Case) -> list[str]:
    """Workers, the watch of returns and whoever reads the bank's words learn at once how a payout ended: each word is booked once (INV-15)."""
    seller = case.seller_with(5_000, account=RETURNED_LATER)
    payout = ask_for_payout(seller, 5_000)
    case.mishap("payout", payout.public_id, "execute_then_500")
    case.before("execute_payouts")
    case.house.advance(THREE_DAYS_S)
    case.house.wait_until(lambda: not case.is_paid_at_bank(payout.public_id), what="the returned payout")
    last = registry.provider_named(payout.provider).find_payout(calls.terms_of(payout))
    if not isinstance(last, PayoutReturned):
        return [f"the bank says {last}, and has sent it back"]
    words: list[PaidOut | PayoutReturned] = [PaidOut(last.provider_reference, last.at), last] * 4
    heard = [partial(settlement.hear, payout.pk, word, now=clock.now()) for word in words]
    _answers, broken = race(*heard, *[steps.watch_returns] * 2, *[steps.execute_payouts] * 2)
    payout.refresh_from_db()
    left = money.to_minor(Wallet.objects.get(seller=seller).available)
    return broken + expect(
        (payout.status, left) == (PayoutStatus.RETURNED, 5_000), f"{payout.public_id} is {payout.status}, {left} are left"
    )


def two_payment_files(case: Case) -> list[str]:
    """Several people make a payment file at once while payouts are asked for: each payout is in one file, and the bank's answer pays it once."""
    sellers = [filed_seller(case) for _number in range(3)]
    for seller in sellers:
        ask_for_payout(seller, 1_000)
    now = clock.now()
    make = partial(files.make, "EUR", execute_on=now.date(), made_by="staff:ada", now=now)
    _answers, broken = race(*[make] * 3, *[partial(ask_for_payout, seller, 500) for seller in sellers], make)
    _answers, again = race(*[make] * 2)
    payouts = Payout.objects.filter(seller__in=sellers)
    made = list(PaymentFile.objects.filter(lines__payout__in=payouts).distinct().order_by("pk"))
    lines = PaymentFileLine.objects.filter(payout__in=payouts, dropped_at=None).count()
    named = sum(file.count for file in made)
    broken += again + expect(
        (len(payouts), lines, named) == (6, 6, 6), f"6 payouts are {len(payouts)}, in {lines} lines of files of {named}"
    )
    for file in made:
        files.approve(file.pk, actor="staff:ben", reason="the list", now=now)
        files.fetch(file.pk, actor="staff:ben", now=now)
        answer = ANSWER.format(file=file.message_id).encode()
        _answers, third = race(*[partial(file_answers.apply, [answer], actor="staff:ben", now=now)] * 2)
        broken += third
    paid_by_file = payouts.filter(status=PayoutStatus.SUCCESS).count()
    return broken + expect(paid_by_file == 6, f"{paid_by_file} of 6 payouts are paid")


def conversion_against_conversion(case: Case) -> list[str]:
    """One wallet is converted many times at once, into two currencies, and by one wish: never more than there is, and the wish once (INV-24)."""
    quote_euro(clock.now(), **flow_conversions.RATES)
    [seller] = new_sellers(case.house.shop, "Gus")
    make_available(seller, money.from_minor(10_000, "USD"))
    wishes = [partial(convert, seller, units, to) for units, to in ((3_000, "EUR"), (4_000, "JPY"), (10_000, "EUR"))] * 3
    _answers, broken = race(*wishes, *[partial(convert, seller, 2_000, "EUR", once="one wish")] * 4)
    return broken + converted_once(seller, 10_000) + expect(wished(seller) <= 1, f"{wished(seller)} conversions of one wish")


def conversion_against_payout(case: Case) -> list[str]:
    """Dollars are converted while they are paid out as they are, and as euros: each cent leaves once, and arrives once (INV-15, INV-24)."""
    quote_euro(clock.now(), **flow_conversions.RATES)
    [seller] = new_sellers(case.house.shop, "Hana")
    for currency in ("EUR", "USD"):
        new_bank_account(seller, PAID_AT_ONCE, currency=currency)
    conversions.choose(seller, case.chance.choice(("EUR", "")), by="staff:ana", now=clock.now())
    make_available(seller, money.from_minor(10_000, "USD"))
    case.paid_out.append(seller.pk)
    in_euros = partial(payout_requests.request_payout, seller, currency="EUR", once="in euros", now=clock.now())
    in_dollars = partial(payout_requests.request_payout, seller, amount=money.from_minor(6_000, "USD"), now=clock.now())
    wishes = [partial(convert, seller, 5_000, "EUR"), partial(convert, seller, 2_000, "EUR", once="one wish")]
    _answers, broken = race(*wishes * 2, *[in_euros] * 2, *[in_dollars] * 2, *wishes)
    _answers, again = race(*[steps.execute_payouts] * 3, in_euros)
    dollars = sum(money.to_minor(payout.amount) for payout in case.payouts() if payout.amount.currency.code == "USD")
    broken += again + converted_once(seller, 10_000 - dollars) + expect(wished(seller) <= 1, f"{wished(seller)} conversions of one wish")
    named = Payout.objects.filter(seller=seller, once="in euros").count()
    return broken + expect(named <= 1, f"{named} payouts of one wish")


def convert(seller: Seller, units: int, to: str, *, once: str = "") -> Conversion:
    wish = Wish(money.from_minor(units, "USD"), to, once=once, requested_by="api:programme")
    return conversions.convert(seller, wish, now=clock.now())


def wished(seller: Seller) -> int:
    return Conversion.objects.filter(seller=seller, once="one wish").count()


def converted_once(seller: Seller, units: int) -> list[str]:
    """Say what is wrong if what was converted and what is left of the seller's dollars are not so many cents together."""
    sold = sum(money.to_minor(made.sold) for made in Conversion.objects.filter(seller=seller, sold_currency="USD"))
    left = money.to_minor(Wallet.objects.get(seller=seller, currency="USD").available)
    return expect(left >= 0 and sold + left == units, f"{sold} were converted of {units}, {left} are left")


def filed_seller(case: Case) -> Seller:
    """Return a seller who has 20.00 EUR available, and is paid out by file."""
    [seller] = new_sellers(case.house.shop, "Fay")
    new_bank_account(seller, PAID_AT_ONCE)
    make_available(seller, money.from_minor(2_000, "EUR"))
    nothing = money.zero("EUR")
    PayoutSchedule.objects.create(shop=case.house.shop, seller=seller, provider=files.PROVIDER, minimum=nothing, keep_back=nothing)
    return seller


def ask_for_payout(seller: Seller, units: int, *, once: str = "") -> Payout:
    return payout_requests.request_payout(seller, amount=money.from_minor(units, "EUR"), once=once, now=clock.now())


def deliver(order: PaymentOrder) -> None:
    releases.deliver(order.pk, at=clock.now(), actor="api:programme", now=clock.now())
