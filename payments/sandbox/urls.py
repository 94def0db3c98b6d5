"""Where everything is: /v1 and /control for servers; the rest for browsers. `hits` marks what an outage strikes."""

from django.urls import path

from payments.sandbox import api, approval_pages, control, daily_files, front, pages
from payments.sandbox.endpoint import endpoint
from payments.sandbox.outage import hits

urlpatterns = [
    path("healthz", pages.healthz),
    path("v1/sessions", hits(endpoint(post=api.open_session))),
    path("v1/sessions/<str:session_id>", hits(endpoint(get=api.show_session))),
    path("v1/cards/<str:token>", hits(endpoint(delete=api.forget_card))),
    path("v1/methods", endpoint(get=api.list_methods)),
    path("v1/charges", hits(endpoint(post=api.make_charge, get=api.find_charge))),
    path("v1/charges/void", hits(endpoint(post=api.void_charge))),
    path("v1/charges/<str:charge_id>", hits(endpoint(get=api.show_charge))),
    path("v1/refunds", hits(endpoint(post=api.make_refund, get=api.find_refund))),
    path("v1/refunds/<str:refund_id>", hits(endpoint(get=api.show_refund))),
    path("v1/payouts", hits(endpoint(post=api.make_payout, get=api.find_payouts))),
    path("v1/payouts/<str:payout_id>", hits(endpoint(get=api.show_payout))),
    path("v1/disputes", endpoint(get=hits(api.list_disputes), post=control.open_dispute)),
    path("v1/disputes/<str:dispute_id>", hits(endpoint(get=api.show_dispute))),
    path("v1/disputes/<str:dispute_id>/close", endpoint(post=control.close_dispute)),
    path("v1/balance", hits(endpoint(get=api.show_balance))),
    path("v1/settlement_files", hits(endpoint(get=daily_files.list_settlement_files))),
    path("v1/settlement_files/<int:file_id>", hits(endpoint(get=daily_files.show_settlement_file))),
    path("v1/bank_statements", hits(endpoint(get=daily_files.list_bank_statements))),
    path("v1/bank_statements/<int:file_id>", hits(endpoint(get=daily_files.show_bank_statement))),
    path("control/end_day", endpoint(post=daily_files.end_day)),
    path("control/planted", endpoint(get=daily_files.show_planted)),
    path("v1/journal", endpoint(get=control.show_journal)),
    path("v1/deliveries", endpoint(get=control.show_deliveries)),
    path("v1/faults", endpoint(put=control.switch_fault_on, get=control.show_faults, delete=control.switch_faults_off)),
    path("v1/faults/kinds", endpoint(get=control.show_fault_kinds)),
    path("v1/broken_addresses", endpoint(get=control.show_broken_addresses)),
    path("v1/outage", endpoint(put=control.begin_outage, get=control.show_outage, delete=control.end_outage)),
    path("v1/clock", endpoint(put=control.move_clock, get=control.show_clock, delete=control.reset_clock)),
    path("v1/test_cards", control.show_test_cards),
    path("v1/test_accounts", control.show_test_accounts),
    path("", front.home),
    path("faults", front.change_faults),
    path("clock", front.move_clock),
    path("disputes", front.change_disputes),
    path("reviews", front.end_review),
    path("test-cards", front.test_cards),
    path("fields/<str:session_id>", hits(pages.fields)),
    path("hosted/<str:session_id>", hits(approval_pages.hosted)),
    path("phone/<str:short_code>", hits(approval_pages.phone)),
    path("challenge/<str:session_id>", hits(pages.challenge)),
    path("shop/thanks", pages.thanks),
]

handler404 = pages.not_found
handler500 = pages.broken
