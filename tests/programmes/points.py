"""Where a process may die: every crash point (CP-..) of docs/reliability.md, named by a function, a statement, or a COMMIT.

Product code knows nothing of this: a point is a dotted name, found and wrapped by trap.py while a programme runs.  `within` narrows a point
to the time in which another function runs; a name that is gone is an error at the start, and a point that no case ever passes is one at
the end.  `flow` is the kind of case (flows.py) that passes it.
"""

from dataclasses import dataclass
from enum import StrEnum


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"
    COMMIT_UNSENT = "its COMMIT not sent"
    COMMIT_UNHEARD = "its COMMIT done, the answer not read"


@dataclass(frozen=True, slots=True)
class Point:
    """One place to die at: `id` as in docs/reliability.md, and where that is in our code."""

    id: str
    flow: str
    when: When
    place: str
    within: str = ""

    def __str__(self) -> str:
        inside = f" within {self.within}" if self.within else ""
        return f"{self.id} in {self.flow}: {self.when} {self.place}{inside}"


SENT = "httpcore._sync.http11.HTTP11Connection._receive_response_headers"  # the request is sent, and nothing of the answer is read
PSP = "payments.psp.sandbox.SandboxPsp"
BANK = "payouts.providers.sandbox.SandboxBank"
TASKS = "payments.tasks"

# id, flow, when, place[, within]
TABLE = f"""
CP-01 open      before  payments.intake.open_event
CP-01 execute   before  payments.confirmation.confirm_order
CP-01 pay       before  payments.confirmation.confirm
CP-02 open      after   wallet.idempotency.claim
CP-02 execute   after   wallet.idempotency.claim
CP-03 open      unsent  payments.intake.store
CP-03 open      unheard payments.intake.store
CP-03 execute   unsent  payments.confirmation.confirm_order
CP-03 execute   unheard payments.confirmation.confirm_order
CP-03 pay       unsent  payments.confirmation.confirm
CP-03 pay       unheard payments.confirmation.confirm
CP-03 pay       unsent  payments.claims.claim_some
CP-04 pay       before  {PSP}.charge
CP-05 pay       before  {SENT} {PSP}.charge
CP-06 pay       after   {PSP}.charge
CP-06 pay       before  payments.executor.hand_over
CP-07 pay       after   payments.settlement.SUCCEED
CP-07 pay       after   payments.settlement.FAIL
CP-07 pay       after   payments.settlement.CLOSE_EVENTS
CP-08 pay       before  wallet.balances.credit
CP-08 pay       after   wallet.balances.credit
CP-09 pay       before  ledger.journal.post
CP-09 pay       after   ledger.journal.post
CP-09 pay       after   wallet.notifications.publish
CP-10 pay       unsent  payments.settlement.settle
CP-10 pay       unheard payments.settlement.settle
CP-10 pay       unsent  payments.settlement.fail
CP-10 pay       unheard payments.settlement.fail
CP-11 open      after   payments.intake.open_event
CP-11 open      before  wallet.idempotency.finish
CP-11 open      after   wallet.idempotency.finish
CP-11 execute   after   payments.confirmation.confirm_order
CP-11 execute   before  wallet.idempotency.finish
CP-11 execute   after   wallet.idempotency.finish
CP-12 execute   before  ledger.doorbell.ring
CP-12 execute   after   ledger.doorbell.ring
CP-12 webhook   before  ledger.doorbell.ring
CP-12 outgoing  before  wallet.notifications.publish payments.settlement.settle
CP-13 outgoing  unsent  wallet.notifications.relay.fan_out
CP-13 outgoing  unheard wallet.notifications.relay.fan_out
CP-13 outgoing  before  wallet.notifications.delivery.send
CP-13 outgoing  after   wallet.notifications.delivery.send
CP-13 outgoing  unsent  wallet.notifications.delivery.record
CP-13 outgoing  unheard wallet.notifications.delivery.record
CP-14 outgoing  after   wallet.notifications.relay.run wallet.notifications.relay.fan_out
CP-14 outgoing  unheard wallet.notifications.delivery.claimed
CP-15 pay       before  {TASKS}.execute_due_orders.run
CP-15 refund    before  {TASKS}.execute_due_refunds.run
CP-15 webhook   before  {TASKS}.apply_psp_events.run
CP-16 pay       before  payments.claims.claim_due
CP-03 pay       unheard payments.claims.claim_some
CP-16 pay       before  payments.settlement.lock_executing
CP-17 pay       after   payments.settlement.settle
CP-17 pay       after   payments.executor.hand_over
CP-18 pay       after   {TASKS}.execute_due_orders.run
CP-18 refund    after   {TASKS}.execute_due_refunds.run
CP-18 webhook   after   {TASKS}.apply_psp_events.run
CP-19 webhook   before  {PSP}.verify_webhook
CP-20 webhook   after   {PSP}.verify_webhook
CP-20 webhook   before  payments.inbox.store
CP-21 webhook   after   payments.inbox.store
CP-22 webhook   before  payments.inbox.verdicts_on
CP-22 webhook   after   ledger.journal.post payments.inbox.apply_received
CP-22 webhook   after   wallet.balances.credit payments.inbox.apply_received
CP-22 webhook   unsent  payments.settlement.settle payments.inbox.apply_received
CP-22 webhook   unheard payments.settlement.settle payments.inbox.apply_received
CP-23 webhook   after   payments.inbox.verdicts_on
CP-23 webhook   after   payments.inbox.apply_received
CP-24 lookup    before  {PSP}.find_charge
CP-24 lookup    before  {SENT} {PSP}.find_charge
CP-25 lookup    after   {PSP}.find_charge
CP-26 lookup    after   payments.claims.PUT_BACK
CP-26 lookup    unsent  payments.claims.put_back
CP-26 lookup    unheard payments.claims.put_back
CP-27 lookup    unheard payments.settlement.settle
CP-27 expire    after   payments.expiry.LOCK_DUE
CP-27 expire    after   payments.expiry.EXPIRE
CP-27 expire    unsent  payments.expiry.expire_checkouts
CP-27 expire    unheard payments.expiry.expire_checkouts
CP-28 refund    unsent  payments.refunds.request_refund
CP-28 refund    unheard payments.refunds.request_refund
CP-28 refund    unheard payments.refund_executor.claim_due
CP-28 refund    before  {PSP}.refund
CP-28 refund    unheard payments.refund_executor.open_attempt
CP-28 cancel    unsent  payments.cancellations.cancel
CP-28 cancel    unheard payments.cancellations.cancel
CP-28 cancel    before  {PSP}.void
CP-29 cancel    before  {SENT} {PSP}.void
CP-30 cancel    after   {PSP}.void
CP-31 refund    unheard payments.settlement.fail_refund
CP-31 refund    unsent  payments.settlement.reverse_refund
CP-31 refund    unheard payments.settlement.reverse_refund
CP-31 cancel    unsent  payments.cancellations.release
CP-31 cancel    unheard payments.cancellations.release
CP-22 late      unsent  payments.late.revive
CP-22 late      unheard payments.late.revive
CP-22 late      unsent  payments.late.receive
CP-22 late      unheard payments.late.receive
CP-22 dispute   unsent  payments.disputes.open_dispute
CP-22 dispute   unheard payments.disputes.open_dispute
CP-22 dispute   after   payments.disputes.open_dispute
CP-22 dispute   unsent  payments.disputes.close_dispute
CP-22 dispute   unheard payments.disputes.close_dispute
CP-24 dispute   before  {PSP}.disputes_since
CP-25 dispute   after   {PSP}.disputes_since
CP-29 refund    before  {SENT} {PSP}.refund
CP-30 refund    after   {PSP}.refund
CP-30 refund    before  payments.settlement.settle_refund
CP-31 refund    after   ledger.journal.post
CP-31 refund    unsent  payments.settlement.settle_refund
CP-31 refund    unheard payments.settlement.settle_refund
CP-32 payout    after   wallet.balances.change payouts.requests.request_payout
CP-32 payout    unsent  payouts.requests.request_payout
CP-32 payout    unheard payouts.requests.request_payout
CP-32 payout    unheard payouts.executor.claim_one
CP-33 payout    unheard payouts.executor.open_attempt
CP-33 payout    before  {BANK}.pay_out
CP-33 payout    before  {SENT} {BANK}.pay_out
CP-34 payout    after   {BANK}.pay_out
CP-34 payout    before  {SENT} {BANK}.find_payout
CP-34 payout    after   {BANK}.find_payout
CP-35 payout    after   payouts.executor.ring
CP-35 payout    after   ledger.journal.post payouts.settlement.settle_payout
CP-35 payout    unsent  payouts.settlement.settle_payout
CP-35 payout    unheard payouts.settlement.settle_payout
CP-36 payout    after   wallet.balances.change payouts.settlement.fail_payout
CP-36 payout    unsent  payouts.settlement.fail_payout
CP-36 payout    unheard payouts.settlement.fail_payout
CP-36 payout    after   {BANK}.returned_since
CP-36 payout    unsent  payouts.settlement.return_payout
CP-36 payout    unheard payouts.settlement.return_payout
CP-37 files     after   reconciliation.folder.AtRest.read
CP-37 files     after   reconciliation.sandbox_files.Body.readinto
CP-37 files     before  asyncssh.SFTPClientFile.read
CP-37 files     after   reconciliation.sftp_server.Server.download
CP-38 files     after   reconciliation.originals.keep
CP-38 files     unsent  reconciliation.ingestion.stored
CP-38 files     unheard reconciliation.ingestion.stored
CP-38 files     after   reconciliation.ingestion.receive
CP-39 files     after   reconciliation.staging._Rows.add
CP-39 files     before  reconciliation.staging.advance
CP-39 files     after   reconciliation.staging.advance
CP-39 files     unsent  reconciliation.staging.stage_settlement
CP-39 files     unheard reconciliation.staging.stage_settlement
CP-39 files     unsent  reconciliation.staging.stage_statement
CP-39 files     unheard reconciliation.staging.stage_statement
CP-39 files     before  reconciliation.staging.finish
CP-39 files     after   reconciliation.staging.finish
CP-40 files     after   reconciliation.matching.compare
CP-40 files     after   reconciliation.matching.post
CP-40 files     unsent  reconciliation.matching.match
CP-40 files     unheard reconciliation.matching.match
CP-40 files     after   payments.releases.mark_settled
CP-40 files     after   reconciliation.bank_matching.compare
CP-40 files     after   reconciliation.bank_matching.post
CP-40 files     unsent  reconciliation.bank_matching.match
CP-40 files     unheard reconciliation.bank_matching.match
CP-41 close     unsent  reconciliation.close.prepare
CP-41 close     unheard reconciliation.close.prepare
CP-41 close     after   reconciliation.close.looked_at
CP-41 close     after   ledger.periods.close
CP-41 close     after   reconciliation.close.decide
CP-41 close     after   reconciliation.close.keep
CP-41 close     unsent  reconciliation.close.close
CP-41 close     unheard reconciliation.close.close
CP-42 report    after   wallet.invoices.ISSUE
CP-42 report    after   ledger.journal.post_from wallet.invoices.issue_month
CP-42 report    unsent  wallet.invoices.issue_month
CP-42 report    unheard wallet.invoices.issue_month
CP-44 run       after   ledger.journal.post_from payouts.scheduling.run
CP-44 run       after   wallet.balances.change_from payouts.scheduling.run
CP-44 run       unsent  payouts.scheduling.run
CP-44 run       unheard payouts.scheduling.run
CP-47 release   unsent  payments.releases.deliver
CP-47 release   unheard payments.releases.deliver
CP-47 release   after   ledger.journal.post payments.releases.release_due
CP-47 release   after   wallet.balances.change payments.releases.release_due
CP-47 release   unsent  payments.releases.release_due
CP-47 release   unheard payments.releases.release_due
CP-47 release   after   wallet.balances.change payments.releases.free_due_reserves
CP-47 release   unsent  payments.releases.free_due_reserves
CP-47 release   unheard payments.releases.free_due_reserves
CP-48 approval  before  {PSP}.open_session
CP-48 approval  before  {SENT} {PSP}.open_session
CP-48 approval  after   {PSP}.open_session
CP-48 approval  unsent  payments.sessions.keep
CP-48 approval  unheard payments.sessions.keep
CP-49 approval  after   payments.inbox.verdict_on_session
CP-49 approval  unsent  payments.sessions.claim_due
CP-49 approval  unheard payments.sessions.claim_due
CP-49 approval  before  {SENT} {PSP}.session
CP-49 approval  after   {PSP}.session
CP-49 approval  after   payments.sessions.note
CP-50 approval  unsent  payments.confirmation.confirm payments.sessions.confirm
CP-50 approval  unheard payments.confirmation.confirm payments.sessions.confirm
CP-50 approval  before  payments.sessions.end
CP-50 approval  after   payments.sessions.end
CP-50 approval  before  payments.tasks.nudge_executor
CP-51 tender    after   payments.tenders.locked_plan
CP-51 tender    after   payments.tenders.hold
CP-51 tender    unsent  payments.confirmation.confirm
CP-51 tender    unheard payments.confirmation.confirm
CP-52 tender    after   payments.tenders.let_go payments.settlement.fail
CP-52 tender    unsent  payments.settlement.fail
CP-52 tender    unheard payments.settlement.fail
CP-52 tender    after   payments.tenders.let_go payments.cancellations.cancel
CP-52 tender    unsent  payments.cancellations.cancel
CP-52 tender    unheard payments.cancellations.cancel
CP-53 tender    after   {PSP}.charge
CP-53 tender    after   ledger.journal.post payments.settlement.record
CP-53 tender    after   payments.tenders.take
CP-53 tender    unsent  payments.settlement.settle
CP-53 tender    unheard payments.settlement.settle
CP-54 tender    after   payments.value_returns.reserve
CP-54 tender    unsent  payments.refunds.request_refund
CP-54 tender    unheard payments.refunds.request_refund
CP-54 tender    after   {PSP}.refund
CP-54 tender    before  payments.settlement.settle_refund
CP-54 tender    after   payments.value_returns.give
CP-54 tender    unsent  payments.settlement.settle_refund
CP-54 tender    unheard payments.settlement.settle_refund
CP-54 tender    after   payments.value_returns.put_back payments.settlement.fail_refund
CP-54 tender    unheard payments.settlement.fail_refund
CP-54 tender    after   payments.value_returns.take_again
CP-54 tender    unsent  payments.settlement.reverse_refund
CP-54 tender    unheard payments.settlement.reverse_refund
CP-55 purchase  after   wallet.gift_cards.prepare_sale
CP-55 purchase  after   wallet.stored_value.open_wallet
CP-55 purchase  unsent  payments.intake.store
CP-55 purchase  unheard payments.intake.store
CP-55 purchase  before  wallet.idempotency.finish
CP-55 purchase  after   {PSP}.charge
CP-55 purchase  after   ledger.journal.post payments.settlement.record
CP-55 purchase  after   wallet.stored_value.change payments.settlement.record
CP-55 purchase  unsent  payments.settlement.settle
CP-55 purchase  unheard payments.settlement.settle
CP-55 purchase  unsent  wallet.gift_cards.make_code
CP-55 purchase  unheard wallet.gift_cards.make_code
CP-55 purchase  after   ledger.journal.post wallet.gift_cards.granted
CP-55 purchase  after   wallet.stored_value.change wallet.gift_cards.granted
CP-55 purchase  unsent  wallet.gift_cards.grant
CP-55 purchase  unheard wallet.gift_cards.grant
CP-55 purchase  after   payments.value_returns.buy_back
CP-55 purchase  unsent  payments.settlement.settle_refund
CP-55 purchase  unheard payments.settlement.settle_refund
CP-55 purchase  after   payments.value_returns.fill_again
CP-55 purchase  unheard payments.settlement.reverse_refund
CP-56 breakage  after   wallet.stored_value.lock wallet.gift_card_expiry.expire_due
CP-56 breakage  after   ledger.journal.post wallet.gift_card_expiry.expire_due
CP-56 breakage  after   wallet.stored_value.change wallet.gift_card_expiry.expire_due
CP-56 breakage  unsent  wallet.gift_card_expiry.expire_due
CP-56 breakage  unheard wallet.gift_card_expiry.expire_due
CP-57 convert   after   ledger.journal.post wallet.conversions.convert
CP-57 convert   after   wallet.balances.change wallet.conversions.convert
CP-57 convert   unsent  wallet.conversions.convert
CP-57 convert   unheard wallet.conversions.convert
CP-57 convert   before  wallet.idempotency.finish
CP-58 exchange  after   payouts.conversions.convert_for
CP-58 exchange  after   wallet.balances.change payouts.conversions.convert_for
CP-58 exchange  unsent  payouts.requests.grant
CP-58 exchange  unheard payouts.requests.grant
CP-58 exchange  after   wallet.balances.change payouts.conversions.sell
CP-58 exchange  unsent  payouts.conversions.sell
CP-58 exchange  unheard payouts.conversions.sell
CP-58 exchange  before  payouts.scheduling.run
CP-58 exchange  unsent  payouts.scheduling.run
CP-58 exchange  unheard payouts.scheduling.run
"""

WHEN = {"before": When.BEFORE, "after": When.AFTER, "unsent": When.COMMIT_UNSENT, "unheard": When.COMMIT_UNHEARD}


def read(table: str) -> tuple[Point, ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(Point(name, flow, WHEN[when], *place) for name, flow, when, *place in rows)


POINTS = read(TABLE)
FLOWS = tuple(dict.fromkeys(point.flow for point in POINTS))


def named(point_ids: str) -> tuple[Point, ...]:
    """Return the places of these crash points (CP-35,CP-36), or of all for an empty name.  Raises KeyError for a name that is none."""
    known = dict.fromkeys(point.id for point in POINTS)
    wanted = point_ids.split(",") if point_ids else known
    if strange := [name for name in wanted if name not in known]:
        raise KeyError(f"There is no {', '.join(strange)}; there are {', '.join(known)}.")
    return tuple(point for point in POINTS if point.id in wanted)
