"""The cases of conversions: a seller's dollars become euros because somebody asks for it, or because a payout does, whoever dies on the way."""

from decimal import Decimal

from ledger import clock, money
from ledger.money import zero
from payouts import calendars, conversions
from payouts.models import Payout, PayoutSchedule
from payouts.states import Interval
from tests.factories import PAID_AT_ONCE, make_available, new_bank_account, new_sellers, new_shop
from tests.programmes.flow_files import judge_count
from tests.programmes.flows import DAILY, MOST_TRIES, Case, Refused
from tests.programmes.verdicts import Verdicts
from tests.rates import quote_euro
from wallet.models import Conversion, Seller, Wallet

RATES = {"USD": "1.0512", "JPY": "163.11"}
LEAST, MOST = 1_000, 50_000  # cents


def convert(case: Case) -> None:
    """A shop's back end converts a part of a seller's dollars over REST, and then the rest; each wish is sent again, and converts nothing more."""
    quote_euro(clock.now(), **RATES)
    [seller] = new_sellers(case.house.shop, "Gus")
    units = let_have_dollars(case, seller)
    first = case.chance.randint(LEAST // 2, units - 2)
    for number, part in enumerate((first, units - first)):
        amount = str(money.from_minor(part, "USD").amount)
        key = f"convert-{seller.public_id}-{number}"
        case.wishes[key] = amount
        body = {"amount": {"amount": amount, "currency": "USD"}, "to": "EUR"}
        for _again in range(2):
            case.insist("post", path=f"/v1/wallet/{seller.public_id}/conversions", body=body, token=case.house.token, key=key)


def exchange(case: Case) -> None:
    """Sellers who are paid out in euros have dollars: a payout of all that there is, or the day's run, converts them first."""
    quote_euro(clock.now(), **RATES)
    place = f"{case.point.place} {case.point.within}"
    if "requests" in place or "convert_for" in place:
        [seller] = new_sellers(case.house.shop, "Hana")
        ready_for_euros(case, seller)
        ask_for_everything(case, seller)
    else:
        run(case)
    for _second in range(2):
        case.step("execute_payouts")
        case.house.advance(10)


def ask_for_everything(case: Case, seller: Seller) -> None:
    """Let the shop ask for all that there is in euros until it stands, and once more."""
    once = f"payout-{seller.public_id}"
    for _try in range(MOST_TRIES):
        is_last = Payout.objects.filter(seller=seller, once=once).exists()
        case.step("request_everything", seller=seller.pk, currency="EUR", once=once)
        if is_last:
            return
    raise Refused(f"case {case.number}: {seller.public_id} cannot be paid out")


def run(case: Case) -> None:
    """Let beat convert and pay out for the day that is over, again and again."""
    shop = new_shop()
    PayoutSchedule.objects.create(shop=shop, interval=Interval.DAILY, minimum=zero("EUR"), keep_back=zero("EUR"))
    for seller in new_sellers(shop, "Ada", "Bolt", "Cleo"):
        ready_for_euros(case, seller)
    day = calendars.last_over(DAILY, clock.now()).name
    for _beat in range(MOST_TRIES):
        is_last = bool(case.payouts())
        case.step("convert_and_run", shop=shop.pk, day=day)
        if is_last:
            return
    raise Refused(f"case {case.number}: the run of {day} is not made")


def ready_for_euros(case: Case, seller: Seller) -> None:
    """Let the seller be paid out in euros, and have dollars and perhaps euros, too."""
    new_bank_account(seller, PAID_AT_ONCE)
    conversions.choose(seller, "EUR", by="staff:ana", now=clock.now())
    let_have_dollars(case, seller)
    if case.chance.random() < 0.5:
        make_available(seller, money.from_minor(case.chance.randint(1, MOST), "EUR"))
    case.paid_out.append(seller.pk)


def let_have_dollars(case: Case, seller: Seller) -> int:
    """Let the seller have so many cents available in dollars, and return how many."""
    units = case.chance.randint(LEAST, MOST)
    make_available(seller, money.from_minor(units, "USD"))
    case.dollars[seller.pk] = units
    return units


def verdict(case: Case) -> Verdicts:
    """All dollars became euros, each once: a wish is one conversion, and what is paid out is all that there was."""
    found = Verdicts()
    for seller_id, units in case.dollars.items():
        made = list(Conversion.objects.filter(seller=seller_id))
        judge_count(found, f"cents of seller {seller_id} that were converted", sum(money.to_minor(each.sold) for each in made), units)
        is_paid_out = seller_id in case.paid_out
        if is_paid_out:
            judge_count(found, f"payouts of seller {seller_id}", Payout.objects.filter(seller=seller_id).count(), 1)
        wallets = Wallet.objects.filter(seller=seller_id, available__gt=0).exclude(currency="" if is_paid_out else "EUR")
        found.stuck += [f"{wallet.available} of seller {seller_id} are left" for wallet in wallets]
    for key, amount in case.wishes.items():
        of_wish = list(Conversion.objects.filter(once=key))
        judge_count(found, f"conversions of {key}", len(of_wish), 1)
        found.lost += [f"{each.public_id} sold {each.sold}, not {amount}" for each in of_wish if each.sold.amount != Decimal(amount)]
    return found
