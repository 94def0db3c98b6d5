"""The five roles: each page and each deed is open to those whom docs/roles.md names, and to nobody else; and who gave whom which right stays."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import resolve, reverse

from ledger import clock, transitions
from ledger.admin import LookOnly
from ledger.approvals import KINDS
from ledger.deeds import Deed, WithDeeds
from ledger.models import Approval
from reconciliation import audit, resolution, roles, urls
from reconciliation.match_bulk import InBulk
from reconciliation.models import Mismatch, RightsTransition
from reconciliation.roles import HOUSE, Role
from tests.flows.test_admin import words

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "roles.md"
NAMED_IN_CODE = re.compile(r"has_perms?\(\(?\"([a-z_.]+)\"|perms\.([a-z_]+\.[a-z_]+)")
SEES, MAY = "sees", "may"


def login(name: str, *given: Role) -> User:
    transitions.by("", reason="")  # the machine: the test's transaction may have named somebody
    user = User.objects.create_user(name, password="-", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=given))
    return user


def browser_of(user: User) -> Client:
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    return browser


def pages() -> list[Any]:
    """Return the pages of the house, and of its logins, by the names of their tables."""
    registered = admin.site._registry.values()
    return sorted((page for page in registered if page.opts.app_label in (*HOUSE, "auth")), key=lambda page: str(page.opts.label_lower))


def deeds() -> list[tuple[WithDeeds, Deed]]:
    return [(page, deed) for page in pages() if isinstance(page, WithDeeds) for deed in page.deeds]


def right_to_see(page: Any) -> str:
    return f"{page.opts.app_label}.view_{page.opts.model_name}"


def rights_asked_for() -> set[str]:
    """Return every right that something in the house asks for, beside those to look at a table."""
    asked = {f"{model._meta.app_label}.{name}" for name_ in HOUSE for model in apps.get_app_config(name_).get_models()
             for name, _title in model._meta.permissions}  # fmt: skip
    asked |= {right for _page, deed in deeds() for right in deed.permissions}
    asked |= {bulk.permission for page in pages() if isinstance(page, InBulk) for bulk in page.bulks}
    asked |= {right for kind in KINDS.values() for right in (kind.may_see, kind.may_propose, kind.may_approve)}
    for path in (*(file for name in HOUSE for file in (ROOT / name).rglob("*.py")), *(ROOT / "templates").rglob("*.html")):
        asked |= {found[0] or found[1] for found in NAMED_IN_CODE.findall(path.read_text())}
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    for page in pages():
        if not isinstance(page, LookOnly):
            able = {verb: getattr(page, f"has_{verb}_permission")(request) for verb in ("add", "change", "delete")}
            asked |= {f"{page.opts.app_label}.{verb}_{page.opts.model_name}" for verb, is_able in able.items() if is_able}
    return {right for right in asked if not right.partition(".")[2].startswith("view_")}


# --- The table ------------------------------------------------------------------------------------------------------


def test_every_right_that_anything_asks_for_is_some_roles_and_no_other_is() -> None:
    given = {right for role in Role for right in roles.rights_of(role)}
    known = {f"{right.content_type.app_label}.{right.codename}" for right in Permission.objects.select_related("content_type")}
    assert given - known == set(), "rights that do not exist"
    not_to_see = {right for right in given if not right.partition(".")[2].startswith("view_")}
    assert rights_asked_for() - not_to_see == set(), "rights that stand in no role's list of reconciliation/roles.py"
    assert not_to_see - rights_asked_for() == set(), "rights that nothing asks for"


def test_no_role_alone_both_makes_and_checks_and_an_administrator_and_an_auditor_do_neither() -> None:
    money = {right for right in (*roles.MAKES, *roles.CHECKS) if right not in roles.AUDITS}
    assert set(roles.MAKES) & set(roles.CHECKS) == {
        "reconciliation.add_insidelook",
        "reconciliation.annotate_mismatch",
        "reconciliation.download_sourcefile",
    }
    assert not money & (roles.rights_of(Role.ADMINISTRATOR) | roles.rights_of(Role.AUDITOR) | roles.rights_of(Role.VIEWER))


def test_the_roles_are_kept_and_nobody_is_taken_out_of_one() -> None:
    ada = login("ada", Role.MAKER)
    maker = Group.objects.get(name=Role.MAKER)
    maker.permissions.set(Permission.objects.filter(codename="approve_resolution"))
    Group.objects.get(name=Role.VIEWER).delete()
    roles.keep()
    assert set(ada.groups.all()) == {maker}
    ada = User.objects.get(pk=ada.pk)
    assert ada.get_all_permissions() == roles.rights_of(Role.MAKER)
    assert Group.objects.filter(name__in=list(Role)).count() == len(Role)


def table_of_pages() -> list[str]:
    lines = ["| page | " + " | ".join(role.value for role in Role) + " |", "| --- |" + " --- |" * len(Role)]
    for page in pages():
        able = [SEES if role in roles.roles_with(right_to_see(page)) else "" for role in Role]
        lines.append(f"| {page.opts.verbose_name_plural} (`{page.opts.label_lower}`) | " + " | ".join(able) + " |")
    return lines


def table_of_deeds() -> list[str]:
    lines = ["| page | deed | " + " | ".join(role.value for role in Role) + " |", "| --- | --- |" + " --- |" * len(Role)]
    for page, deed in deeds():
        if page.model is Approval:
            continue  # each kind has its own rights: they stand in a table of their own
        able = [MAY if roles.rights_of(role).issuperset((*deed.permissions, right_to_see(page))) else "" for role in Role]
        lines.append(f"| {page.opts.label_lower} | {deed.title} (`{deed.name}`) | " + " | ".join(able) + " |")
    return lines


def table_of_kinds() -> list[str]:
    lines = ["| what takes two | proposed by | approved by |", "| --- | --- | --- |"]
    for kind in KINDS.values():
        able = [", ".join(roles.roles_with(right)) for right in (kind.may_propose, kind.may_approve)]
        lines.append(f"| {kind.title} | " + " | ".join(able) + " |")
    return lines


def table_of_rights() -> list[str]:
    lines = ["| right | " + " | ".join(role.value for role in Role) + " |", "| --- |" + " --- |" * len(Role)]
    for right in sorted(rights_asked_for()):
        lines.append(f"| `{right}` | " + " | ".join(MAY if role in roles.roles_with(right) else "" for role in Role) + " |")
    return lines


@pytest.mark.parametrize("table", [table_of_pages, table_of_deeds, table_of_kinds, table_of_rights])
def test_the_docs_show_the_table(table: Any) -> None:
    lines = "\n".join(table())
    assert lines in DOCS.read_text(), f"docs/roles.md should say:\n{lines}"


def answered(user: User, address: str, method: str) -> int:
    """Return the status with which the view at this address answers the user: as the site calls it, without drawing the page."""
    request = RequestFactory().generic(method, address)
    request.user, request.session = user, SessionStore()
    setattr(request, "_messages", CookieStorage(request))  # noqa: B010 - where Django's middleware puts them
    setattr(request, "_dont_enforce_csrf_checks", True)  # noqa: B010
    found = resolve(address)
    try:
        return int(found.func(request, *found.args, **found.kwargs).status_code)
    except PermissionDenied:
        return 403
    except Http404:
        return 404


@pytest.mark.parametrize("role", Role)
def test_sec_29_each_page_and_each_deed_is_open_to_whom_the_table_says(role: Role) -> None:
    ada, rights = login("ada", role), roles.rights_of(role)
    for page in pages():
        named, may_see = f"admin:{page.opts.app_label}_{page.opts.model_name}", right_to_see(page) in rights
        assert answered(ada, reverse(f"{named}_changelist"), "GET") == (200 if may_see else 403), page
        if not isinstance(page, LookOnly):
            may_add = f"{page.opts.app_label}.add_{page.opts.model_name}" in rights
            assert answered(ada, reverse(f"{named}_add"), "GET") == (200 if may_add else 403), page
    for page, deed in deeds():
        address = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_{deed.name}", args=[0])
        may_do = rights.issuperset((*deed.permissions, right_to_see(page)))
        assert answered(ada, address, "POST") == (404 if may_do else 403), address


def test_an_administrator_sees_no_money_on_the_pages_beside_the_tables_either() -> None:
    ada = login("ada", Role.ADMINISTRATOR)
    for pattern in urls.urlpatterns:
        made_up = {"pk": 0, "public_id": "pay_0", "kind": "psp_fees", "currency": "EUR", "name": "sales"}
        asked = {name: made_up[name] for name in pattern.pattern.converters}
        assert answered(ada, reverse(pattern.name, kwargs=asked), "GET") == 403, pattern.name


@pytest.mark.parametrize("role", Role)
def test_a_second_factor_is_demanded_of_every_role(role: Role, settings: Any) -> None:
    settings.ADMIN_SECOND_FACTOR = True
    browser = browser_of(login("ada", role))
    for page in pages()[::20]:
        answer = browser.get(reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist"))
        assert (answer.status_code, answer.headers.get("Location", "").partition("?")[0]) == (302, reverse("admin:login"))


def test_sec_29_who_is_maker_and_checker_does_not_approve_what_they_proposed() -> None:
    ada, bea = login("ada", Role.MAKER, Role.CHECKER), login("bea", Role.CHECKER)
    mismatch = Mismatch.objects.create(kind="missing_there", psp="sandbox", currency="EUR", subject="ord_1", found_at=clock.now())
    proposal = resolution.propose(mismatch.pk, "", "Never charged", actor="staff:ada", now=clock.now())
    address, asked = f"/admin/reconciliation/mismatch/{mismatch.pk}/approve/", {"proposal": proposal.pk, "note": "Right"}
    assert "Somebody else must decide it" in words(browser_of(ada).post(address, asked).content)
    assert browser_of(bea).post(address, asked).status_code == 302


# --- Who gives whom which role --------------------------------------------------------------------------------------


@pytest.fixture
def boss() -> Client:
    return browser_of(login("boss", Role.ADMINISTRATOR))


def page_of(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def filled(user: User, *given: Role, **more: Any) -> dict[str, Any]:
    groups = list(Group.objects.filter(name__in=given).values_list("pk", flat=True))
    return {"first_name": "", "last_name": "", "email": "", "is_active": "on", "is_staff": "on", "groups": groups, "why": "New here"} | more


def told(name: str) -> list[tuple[str, str, str, str, str]]:
    rows = RightsTransition.objects.filter(login=name).exclude(actor="").order_by("pk")
    return list(rows.values_list("what", "before", "after", "actor", "reason"))


def test_an_administrator_gives_and_takes_roles_and_each_step_is_written_down(boss: Client) -> None:
    answer = boss.post(reverse("admin:auth_user_add"), {
        "username": "ada", "usable_password": "true", "password1": "as-long-as-it-is-calm", "password2": "as-long-as-it-is-calm", "why": "Hired",
    })  # fmt: skip
    assert answer.status_code == 302
    ada = User.objects.get(username="ada")
    assert boss.post(page_of(ada), filled(ada, Role.MAKER) | {"why": ""}).status_code == 200
    assert boss.post(page_of(ada), filled(ada, Role.MAKER)).status_code == 302
    assert boss.post(page_of(ada), filled(ada, Role.VIEWER, why="Moved", is_active="")).status_code == 302
    assert told("ada") == [
        ("login", "", "ada", "staff:boss", "Hired"),
        ("staff", "false", "true", "staff:boss", "New here"),
        ("role", "", "Maker", "staff:boss", "New here"),
        ("active", "true", "false", "staff:boss", "Moved"),
        ("role", "Maker", "", "staff:boss", "Moved"),
        ("role", "", "Viewer", "staff:boss", "Moved"),
    ]
    assert "Moved" in words(boss.get(page_of(ada)).content)
    for statement in ("UPDATE reconciliation_rightstransition SET actor = ''", "DELETE FROM reconciliation_rightstransition"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            connection.cursor().execute(statement)


def test_nobody_gives_themselves_a_role_and_postgres_refuses_it_too(boss: Client) -> None:
    user = User.objects.get(username="boss")
    assert boss.post(page_of(user), filled(user, Role.MAKER)).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[user.pk])
    assert boss.post(password, {"password1": "x" * 20, "password2": "x" * 20}).status_code == 403
    for change in (
        lambda: user.groups.add(Group.objects.get(name=Role.MAKER)),
        lambda: user.groups.clear(),
        lambda: user.user_permissions.add(Permission.objects.get(codename="add_refund")),
        lambda: User.objects.filter(pk=user.pk).update(is_superuser=True),
    ):
        with pytest.raises(IntegrityError, match="nobody changes their own rights"), transaction.atomic():
            transitions.by("staff:boss", reason="Mine")
            change()
    assert told("boss") == []


def test_an_administrator_touches_no_superuser_gives_no_single_rights_and_renames_and_deletes_nobody(boss: Client) -> None:
    root, ada = User.objects.create_superuser("root", password="-"), login("ada", Role.VIEWER)
    assert boss.post(page_of(root), filled(root)).status_code == 403
    assert boss.post(reverse("admin:auth_user_password_change", args=[root.pk]), {"password1": "x" * 20}).status_code == 403
    right = Permission.objects.get(codename="add_refund").pk
    sneaked = filled(ada, Role.VIEWER, is_superuser="on", user_permissions=[right], username="bea")
    assert boss.post(page_of(ada), sneaked).status_code == 302
    ada.refresh_from_db()
    assert (ada.username, ada.is_superuser, ada.user_permissions.count()) == ("ada", False, 0)
    with pytest.raises(IntegrityError, match="keeps its name"), transaction.atomic():
        User.objects.filter(pk=ada.pk).update(username="bea")
    assert boss.post(reverse("admin:auth_user_delete", args=[ada.pk]), {"post": "yes"}).status_code == 403
    group = Group.objects.get(name=Role.VIEWER)
    assert boss.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "Viewer", "permissions": [right]}).status_code == 403
    assert "ada" in words(boss.get(reverse("admin:auth_group_change", args=[group.pk])).content)


def test_whoever_may_only_look_at_logins_sees_no_hash_of_a_password() -> None:
    ada = login("ada", Role.VIEWER)
    page = browser_of(login("olga", Role.AUDITOR)).get(page_of(ada)).content.decode()
    assert "Viewer" in page
    assert ada.password.rpartition("$")[2] not in page


# --- The trail ------------------------------------------------------------------------------------------------------


def test_the_trail_reads_every_table_of_transitions_in_the_house() -> None:
    written = {
        model for name in HOUSE for model in apps.get_app_config(name).get_models()
        if model.__name__.endswith(("Transition", "Change")) and not model._meta.proxy
    }  # fmt: skip
    assert written == {source.model for source in audit.SOURCES if source.model._meta.app_label in HOUSE}


def test_the_trail_says_who_did_what_and_why_and_as_a_file_runs_nothing(boss: Client) -> None:
    auditor = browser_of(login("olga", Role.AUDITOR))
    mismatch = Mismatch.objects.create(kind="missing_there", psp="sandbox", currency="EUR", subject="ord_1", found_at=clock.now())
    resolution.take_over(mismatch.pk, actor="staff:ada", reason='=HYPERLINK("http://evil.example")')
    ada = login("ada", Role.VIEWER)
    boss.post(page_of(ada), filled(ada, Role.MAKER))
    address = reverse("admin:reconciliation_audittrail_changelist")
    assert boss.get(address).status_code == 403
    page = words(auditor.get(address).content)
    assert f"Mismatch {mismatch.public_id} – staff:ada" in page
    assert "Rights: role ada Viewer –" in page
    assert "New here" in page
    for asked, is_found in (
        ({"actor": "staff:boss"}, False),
        ({"actor": "staff:ada"}, True),
        ({"about": mismatch.public_id}, True),
        ({"about": "mm_0"}, False),
        ({"until": (clock.now() - timedelta(days=1)).date().isoformat()}, False),
    ):
        assert (mismatch.public_id in words(auditor.get(address, asked).content.replace(b'value="', b'"'))) is is_found, asked
    for strange in ({"since": "0001-01-01"}, {"until": "9999-12-31"}, {"actor": "\0"}):
        assert mismatch.public_id not in words(auditor.get(address, strange).content), strange
    file = auditor.get(address, {"csv": "trail"}).content.decode()
    assert "'=HYPERLINK" in file
    assert auditor.get(address, {"csv": "trail", "since": "x"}).status_code == 400
