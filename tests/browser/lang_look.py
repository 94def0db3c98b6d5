import os, re
import pytest
from django.utils import timezone
from datetime import timedelta
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.browser.test_ways_to_pay import new_code
from tests.fixtures_house import LiveHouse
from tests.factories import stored_value_of
from payments.models import PaymentEvent
from payments import receipts
from wallet.models import Buyer
OUT="/tmp/lane/lang"
LANGS=os.environ.get("LOOK","en,de,fr,es,ar,ja").split(",")
WIDTHS=[int(w) for w in os.environ.get("WIDTHS","390,1280").split(",")]
problems=[]
def shot(page, name, lang, axe=True):
    for w in WIDTHS:
        page.set_viewport_size({"width":w,"height":844 if w<500 else 900})
        page.wait_for_timeout(150)
        page.screenshot(path=f"{OUT}/{name}-{lang}-{w}.png", full_page=True)
        over=page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over>0: problems.append((name,lang,w,"overflow",over))
        cut=page.evaluate("""() => [...document.querySelectorAll('button,a,span,p,h1,h2,h3,li,label,dt,dd')].filter(e=>e.offsetParent&&!e.classList.contains('visually-hidden')&&!e.closest('.visually-hidden')&&e.scrollWidth>e.clientWidth+1&&getComputedStyle(e).display!='inline').map(e=>e.outerHTML.slice(0,140))""")
        if cut: problems.append((name,lang,w,"cut",cut))
    html=page.locator("html")
    assert html.get_attribute("lang")==lang
    assert html.get_attribute("dir")==("rtl" if lang=="ar" else "ltr")
    if axe and lang in ("ar","ja","fr"):
        v=Axe().run(page, options={"iframes": False}).response["violations"]
        for f in v: problems.append((name,lang,f["id"],[n["html"][:200] for n in f["nodes"]]))
def type_card(page,number="4242 4242 4242 4242"):
    expect(page.locator("#pay-button")).to_have_attribute("aria-disabled","false")
    f=page.frame_locator("#fields iframe")
    f.locator("#number").fill(number); f.locator("#expiry").fill("12 / 34"); f.locator("#cvc").fill("123")
@pytest.mark.parametrize("lang",LANGS)
def test_look(live_house: LiveHouse, browser: Browser, lang: str):
    shop=live_house.shop; shop.support_email="help@northwind.example"; shop.sends_receipts=True; shop.save()
    ctx=browser.new_context(locale="en-GB"); page=ctx.new_page(); page.set_default_timeout(20000)
    errors=[]
    page.on("console", lambda m: errors.append(m.text) if m.type in("error","warning") else None)
    url=live_house.checkout(locale=lang, signed_in=True)
    stored_value_of(shop,"50.00",buyer=Buyer.objects.get())
    page.goto(url); expect(page.locator("#pay-button")).to_have_attribute("aria-disabled","false")
    page.wait_for_timeout(600)
    shot(page,"01-pay",lang)
    page.locator("[data-menu] summary").click(); shot(page,"02-menu",lang); page.locator("[data-menu] summary").click()
    page.locator("#pay-button").click(); page.wait_for_timeout(500); shot(page,"03-card-errors",lang,axe=False)
    page.locator(".gift-handle").click(); page.locator("#gift-code").fill("WRONG-CODE"); page.keyboard.press("Enter"); expect(page.locator("#gift-error")).not_to_be_empty(); shot(page,"04-gift-error",lang)
    page.locator("#gift-code").fill(new_code(live_house,"20.00")); page.keyboard.press("Enter"); expect(page.locator(".tender")).to_have_count(1)
    shot(page,"05-gift",lang)
    for m in ("qr","digital_wallet","pay_later"):
        page.locator(f"#by-{m}").check(); page.wait_for_timeout(900); shot(page,f"06-{m}",lang)
    page.locator("#by-card").check()
    type_card(page,"4000 0000 0000 9995"); page.locator("#pay-button").click(); expect(page.locator("#notice")).to_be_visible(); shot(page,"07-declined",lang)
    type_card(page); page.locator("#pay-button").click()
    expect(page.locator(".alone-head")).to_be_visible(); shot(page,"08-paid",lang)
    page.goto(url.split("?")[0]+"/receipt"); shot(page,"09-receipt",lang)
    event=live_house.payment(url)
    mail=None
    from payments.models import ReceiptMail
    mail=ReceiptMail.objects.filter(pk=event.pk).first() or ReceiptMail(pk=event.pk,address="rosa@example.com")
    message=receipts.message_of(mail)
    open(f"{OUT}/mail-{lang}.txt","w").write(message.subject+"\n\n"+message.body)
    mp=ctx.new_page(); mp.set_content(message.alternatives[0][0] if not hasattr(message.alternatives[0],'content') else message.alternatives[0].content); shot(mp,"10-mail",lang); mp.close()
    # wallet sheet, pay later, phone, 3ds
    u2=live_house.checkout(locale=lang)
    page.goto(u2); page.locator("#by-digital_wallet").check(); page.locator(".panel[data-panel=digital_wallet] button[type=submit]").click(); page.wait_for_load_state(); shot(page,"20-psp-wallet",lang,axe=False)
    page.locator("button[value=cancel]").click(); expect(page.locator("#notice")).to_be_visible(); shot(page,"11-cancelled-wallet",lang)
    page.locator("#by-pay_later").check(); page.wait_for_timeout(500); page.locator(".panel[data-panel=pay_later] button[type=submit]").click(); page.wait_for_load_state(); shot(page,"21-psp-later",lang,axe=False)
    page.goto(u2); page.locator("#by-qr").check(); expect(page.locator("#qr-phone")).to_be_visible()
    with page.expect_popup() as popup: page.locator("#qr-phone").click()
    popup.value.wait_for_load_state(); shot(popup.value,"22-psp-phone",lang,axe=False); popup.value.close()
    page.locator("#by-card").check(); type_card(page,"4000 0000 0000 3220"); page.locator("#pay-button").click(); page.wait_for_timeout(1500); page.screenshot(path=f"{OUT}/23-challenge-{lang}-1280.png"); page.set_viewport_size({"width":390,"height":844}); page.screenshot(path=f"{OUT}/23-challenge-{lang}-390.png")
    # expired, waiting, unknown
    u3=live_house.checkout(locale=lang); e3=live_house.payment(u3)
    page.goto(live_house.url+f"/checkout/unknownlink"); 
    PaymentEvent.objects.filter(pk=e3.pk).update(expires_at=timezone.now()-timedelta(seconds=5)) if os.environ.get("EXP") else None
    if os.environ.get("EXP"): page.goto(u3); shot(page,"12-expired",lang)
    ctx.close()
    c2=browser.new_context(locale=lang); p2=c2.new_page(); p2.goto(live_house.url+"/checkout/unknownlink"); shot(p2,"13-unknown",lang); c2.close()
    c3=browser.new_context(locale=lang,java_script_enabled=False); p3=c3.new_page(); p3.goto(live_house.checkout(locale=lang)); shot(p3,"14-noscript",lang,axe=False)
    p3.locator("#hosted button[type=submit]").click(); shot(p3,"24-hosted",lang,axe=False)
    p3.locator("#number").fill("4242 4242 4242 4242");p3.locator("#expiry").fill("12/34");p3.locator("#cvc").fill("123");p3.locator("#pay").click(); p3.wait_for_load_state(); shot(p3,"15-confirm",lang,axe=False); c3.close()
    open(f"{OUT}/problems-{lang}.txt","w").write("\n".join(map(str,problems))+"\nCONSOLE "+"\n".join(errors))
