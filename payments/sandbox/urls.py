"""Where everything is: /v1 for servers; the rest for browsers."""

from django.urls import path

from payments.sandbox import api, pages

urlpatterns = [
    path("healthz", pages.healthz),
    path("v1/sessions", api.endpoint(post=api.open_session)),
    path("v1/sessions/<str:session_id>", api.endpoint(get=api.show_session)),
    path("v1/charges", api.endpoint(post=api.make_charge, get=api.find_charge)),
    path("v1/charges/<str:charge_id>", api.endpoint(get=api.show_charge)),
    path("v1/refunds", api.endpoint(post=api.make_refund, get=api.find_refund)),
    path("v1/refunds/<str:refund_id>", api.endpoint(get=api.show_refund)),
    path("v1/journal", api.endpoint(get=api.show_journal)),
    path("v1/faults", api.endpoint(put=api.switch_fault_on, get=api.show_faults, delete=api.switch_faults_off)),
    path("v1/deliveries", api.endpoint(get=api.show_deliveries)),
    path("v1/test_cards", api.show_test_cards),
    path("", pages.home),
    path("faults", pages.change_faults),
    path("test-cards", pages.test_cards),
    path("fields/<str:session_id>", pages.fields),
    path("hosted/<str:session_id>", pages.hosted),
    path("challenge/<str:session_id>", pages.challenge),
    path("shop/thanks", pages.thanks),
]

handler404 = pages.not_found
handler500 = pages.broken
