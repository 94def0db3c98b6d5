"""What one process of the house does before it is done or dies: a web request, a task of the worker, a sweep of beat.

Each step takes what JSON can carry, so that it can run in this process (level 1) or in a forked one that is killed (level 2).  A step answers
with an HTTP status, or with nothing; whoever called it asks the database what has become of it.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from django.test import Client
from django.urls import reverse

from ledger import clock, seals
from ledger.money import exact
from payments import cancellations, confirmation, expiry, refunds, releases, tasks
from payments.confirmation import Confirmed
from payouts import conversions as payout_conversions
from payouts import requests as payout_requests
from payouts import scheduling
from payouts import tasks as payout_tasks
from payouts.calendars import Calendar
from payouts.choice import Which
from payouts.states import Interval
from reconciliation import close, folder, sandbox_files, sftp, staging, watch
from reconciliation import tasks as reconciliation_tasks
from wallet import invoices, months
from wallet import tasks as wallet_tasks
from wallet.models import Seller, Shop

JSON = "application/json"
PAGE = {"Accept": JSON}  # as the payment page's own script asks
CLIENT = Client(raise_request_exception=False)  # one for all: its middleware is loaded once


def post(path: str, body: Mapping[str, Any], token: str, key: str) -> int:
    """Serve one POST of a shop's back end."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    return CLIENT.post(path, json.dumps(body), content_type=JSON, headers=headers).status_code


def receive(body: str, signature: str) -> int:
    """Serve one webhook of the PSP."""
    headers = {"Sandbox-Signature": signature}
    return CLIENT.post("/webhooks/psp/sandbox", body, content_type=JSON, headers=headers).status_code


def hear_of_payout(body: str, signature: str) -> int:
    """Serve one webhook of the PSP as a bank."""
    headers = {"Sandbox-Signature": signature}
    return CLIENT.post("/webhooks/payouts/sandbox", body, content_type=JSON, headers=headers).status_code


def open_session(token: str, method: str) -> int:
    """Serve the payment page's wish to pay in this way."""
    return CLIENT.post(reverse("checkout-session", args=[token]), {"method": method}, headers=PAGE).status_code


def press_pay(token: str, session: str) -> int:
    """Serve the payment page's button."""
    return CLIENT.post(reverse("checkout-complete", args=[token]), {"session": session}, headers=PAGE).status_code


def come_back(token: str, method: str) -> int:
    """Serve the page to which the PSP leads the buyer back."""
    return CLIENT.get(reverse("checkout-return", args=[token]), {"method": method}).status_code


def confirm(event: int, session: str, payment_token: str, amount: str, currency: str) -> None:
    """Take the buyer's one confirmation."""
    confirmation.confirm(event, Confirmed(session, payment_token, exact(amount, currency)), now=clock.now())


def request_refund(order: int, amount: str, currency: str) -> None:
    """Take the wish for a refund."""
    refunds.request_refund(order, amount=exact(amount, currency), reason="", now=clock.now())


def request_payout(seller: int, amount: str, currency: str, once: str) -> None:
    """Take the wish for a payout."""
    owner = Seller.objects.get(pk=seller)
    payout_requests.request_payout(owner, amount=exact(amount, currency), once=once, now=clock.now())


def request_everything(seller: int, currency: str, once: str) -> None:
    """Take the wish for a payout of all that there is."""
    owner = Seller.objects.get(pk=seller)
    payout_requests.request_payout(owner, currency=currency, once=once, now=clock.now())


def convert_and_run(shop: int, day: str) -> None:
    """Convert what those have in other currencies whom the day's run will pay, one seller to a transaction, and pay out."""
    payout_conversions.AT_ONCE = 1
    which = Which(shop, "EUR", Calendar(Interval.DAILY), day)
    scheduling.convert_and_run(which, now=clock.now(), made_by=scheduling.BY_CALENDAR)


def run_payouts(shop: int, day: str) -> None:
    """Pay out everybody of a shop for a day that is over, as each beat does."""
    which = Which(shop, "EUR", Calendar(Interval.DAILY), day)
    scheduling.run(which, now=clock.now(), made_by=scheduling.BY_CALENDAR)


def hand_over(order: int) -> None:
    """Take the word that an order was delivered."""
    releases.deliver(order, at=clock.now(), actor="api:programme", now=clock.now())


def cancel(order: int, once: str) -> None:
    """Take the wish that an order shall not be paid after all."""
    cancellations.cancel_order(order, reason="", once=once, requested_by="api:programme", now=clock.now())


def execute() -> None:
    tasks.execute_due_orders()


def execute_refunds() -> None:
    tasks.execute_due_refunds()


def apply_events() -> None:
    tasks.apply_psp_events()


def expire() -> None:
    expiry.expire_checkouts(now=clock.now())


def look() -> None:
    tasks.look_at_sessions()


def expire_gift_cards() -> None:
    wallet_tasks.expire_gift_cards()


def follow() -> None:
    tasks.follow_cancellations()


def release() -> None:
    tasks.release_due()


def free_reserves() -> None:
    tasks.free_reserves()


def watch_disputes() -> None:
    tasks.watch_disputes()


def execute_payouts() -> None:
    payout_tasks.execute_due_payouts()


def watch_returns() -> None:
    payout_tasks.watch_returns()


def take_files(way: str) -> None:
    """Receive what is new by one of the ways in."""
    {"folder": folder.pick_up, "sftp": sftp.fetch, "sandbox": sandbox_files.fetch}[way](now=clock.now())


def work_on_files(at_once: int) -> None:
    """Read what was received, so many lines in one transaction, and compare it with our books."""
    staging.CHUNK = at_once
    reconciliation_tasks.stage_files()


def issue_invoices(shop: int, now: str) -> None:
    """Invoice the fees of the month that is over by then."""
    until = datetime.fromisoformat(now)
    invoices.issue_month(Shop.objects.get(pk=shop), months.of(until).previous, now=until, by="machine")


def prepare_close(month: str) -> None:
    """Prepare the close of a month, after what the machine does by itself each minute and each night."""
    seals.seal()
    watch.run_full(now=clock.now())
    close.prepare(date.fromisoformat(month), actor="staff:ada", reason="Complete", now=clock.now())


def close_month(prepared: int) -> None:
    """Close the month that somebody else prepared."""
    close.close(prepared, actor="staff:bea", reason="Looked at", now=clock.now())


def deliver() -> None:
    wallet_tasks.deliver_webhooks()


STEPS: dict[str, Callable[..., int | None]] = {
    step.__name__: step
    for step in (
        post,
        receive,
        hear_of_payout,
        open_session,
        press_pay,
        come_back,
        confirm,
        request_refund,
        request_payout,
        request_everything,
        convert_and_run,
        run_payouts,
        hand_over,
        cancel,
        execute,
        execute_refunds,
        apply_events,
        expire,
        look,
        expire_gift_cards,
        follow,
        release,
        free_reserves,
        watch_disputes,
        execute_payouts,
        watch_returns,
        take_files,
        work_on_files,
        issue_invoices,
        prepare_close,
        close_month,
        deliver,
    )
}
SWEEPS = ("apply_events", "execute", "follow", "execute_refunds", "execute_payouts", "expire")


def take(name: str, terms: Mapping[str, Any]) -> int | None:
    """Take the step of this name."""
    return STEPS[name](**terms)
