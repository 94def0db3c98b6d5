"""The defects that the tests must notice: each a change of one file, and the cheapest tests that must fail with it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """One planted mistake: `before` stands once in the file and becomes `after`; one of `tests` must fail then."""

    name: str
    says: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]


DEFECTS = (
    Defect(
        "new-key-on-retry",
        "A retry goes out under a new key, so that the PSP takes it for another charge.",
        "payments/claims.py",
        "            key=row.psp_key, payment_token=",
        '            key=f"{row.psp_key}:{row.tries}", payment_token=',
        ("tests/flows/test_psp_misbehaves.py",),
    ),
    Defect(
        "unknown-is-failed",
        "An outcome that nobody knows is taken for a failure.",
        "payments/executor.py",
        "            case PspRejectedRequest() if work.operation == PspOperation.CHARGE and not work.maybe_sent:",
        "            case PspRejectedRequest() | PspOutcomeUnknown():",
        ("tests/flows/test_psp_misbehaves.py",),
    ),
    Defect(
        "acknowledge-before-store",
        "A webhook is acknowledged although it could not be stored.",
        "payments/webhooks.py",
        "    except DataError:\n",
        "    except Exception:\n        return HttpResponse(status=200)\n    except DataError:\n",
        ("tests/flows/test_the_database_is_away.py",),
    ),
    Defect(
        "skip-a-leg",
        "The fee is left out of the entry of a sale.",
        "payments/settlement.py",
        "credits=[(chart.seller_pending(order.seller_id), order.net), (chart.fee_revenue(), order.fee)],",
        "credits=[(chart.seller_pending(order.seller_id), order.net + order.fee)],",
        ("tests/flows/test_a_basket_of_three_sellers.py",),
    ),
    Defect(
        "two-commits-for-one-fact",
        "The message is published after the money was committed, in a transaction of its own.",
        "payments/settlement.py",
        '    notifications.publish([news.order_news(order, status="SUCCESS") for order in orders])\n    movements',
        "    transaction.on_commit(transaction.atomic(\n"
        '        lambda: notifications.publish([news.order_news(order, status="SUCCESS") for order in orders])))\n'
        "    movements",
        ("tests/crash/test_a_message_is_never_forgotten.py",),
    ),
    Defect(
        "trust-the-amount-of-an-event",
        "A webhook's amount is not compared with the order's.",
        "payments/inbox.py",
        "        case Charged() if outcome.amount != attempt.order.amount:\n"
        '            return parked(event.pk, f"{outcome.amount} is not the order\'s {attempt.order.amount}")\n',
        "",
        ("tests/flows/test_psp_webhooks.py", "tests/flows/test_early_and_strange_webhooks.py"),
    ),
    Defect(
        "any-signature-will-do",
        "Webhooks are accepted whoever signed them.",
        "ledger/answers.py",
        "        if not sum(hmac.compare_digest(one.encode(), given.encode()) for one in expected):",
        "        if not expected:",
        ("tests/flows/test_psp_webhooks.py",),
    ),
    Defect(
        "read-before-lock",
        "What is left to refund is read from a row that nobody holds.",
        "payments/refunds.py",
        "    order = PaymentOrder.objects.select_for_update(no_key=True).get(pk=order_id)\n    return reserve",
        "    order = PaymentOrder.objects.get(pk=order_id)\n    return reserve",
        ("tests/races/test_payments_at_once.py",),
    ),
    Defect(
        "drop-a-unique-index",
        "Nothing in Postgres keeps a refund from being asked for twice under one key.",
        "payments/migrations/0003_refunds_disputes_cancellations.py",
        "models.UniqueConstraint(condition=models.Q(('once', ''), _negated=True), fields=('order', 'once'),",
        "models.CheckConstraint(condition=models.Q(('amount__gt', 0)),",
        ("tests/flows/test_what_must_be_unique.py",),
    ),
    Defect(
        "a-float-in-the-fee",
        "The share of a fee is measured instead of counted.",
        "ledger/money.py",
        "divmod(units * weight, total) for weight",
        "divmod(int(units * (weight / total) * total), total) for weight",
        ("tests/unit/ledger/test_money.py",),
    ),
    Defect(
        "an-old-key-is-sent",
        "A key that the PSP may have forgotten is sent again.",
        "ledger/retries.py",
        "KEY_LIFETIME = timedelta(hours=20)",
        "KEY_LIFETIME = timedelta(days=400)",
        ("tests/flows/test_psp_misbehaves.py",),
    ),
    Defect(
        "a-late-charge-is-dropped",
        "A charge that comes too late is looked at and forgotten.",
        "payments/late.py",
        "    for capture in not_booked(left_out) if left_out else []:",
        "    for capture in []:",
        ("tests/flows/test_late_charges.py",),
    ),
    Defect(
        "a-payout-is-not-locked",
        "What the bank says of a payout is booked on a row that nobody holds.",
        "payouts/settlement.py",
        '    return Payout.objects.select_for_update(no_key=True, of=("self",)).select_related("seller").get(pk=payout_id)',
        '    return Payout.objects.select_related("seller").get(pk=payout_id)',
        ("tests/crash/test_a_share_of_the_programmes.py::test_whatever_many_do_at_once_is_done_once[payout_told_by_many]",),
    ),
    Defect(
        "a-payout-comes-back-twice",
        "A payout that came back is put back each time that the bank says so.",
        "payouts/settlement.py",
        "    if payout.status != PayoutStatus.SUCCESS:\n        return False",
        "    if payout.status not in (PayoutStatus.SUCCESS, PayoutStatus.RETURNED):\n        return False",
        ("tests/flows/test_payouts.py",),
    ),
    Defect(
        "never-seen-is-failed",
        "A payout that the bank does not find fails although its key is old: it may have been paid.",
        "payouts/executor.py",
        "            give_up(payout, NEVER_SEEN)",
        '            settlement.fail_payout(payout.pk, provider_reference="", code="never_seen", now=now)',
        ("tests/flows/test_payouts.py",),
    ),
    Defect(
        "two-sweeps-release-the-same",
        "A sweep that releases does not hold what is due, so that another one finds the same.",
        "payments/releases.py",
        "    due = DueRelease.objects.select_for_update(skip_locked=True).filter(due_at__lte=now)",
        "    due = DueRelease.objects.filter(due_at__lte=now)",
        ("tests/crash/test_a_share_of_the_programmes.py::test_whatever_many_do_at_once_is_done_once[two_release_sweeps]",),
    ),
)
