"""Whoever reads changes nothing: a GET of the REST API asks the database, and writes no row."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.contract.api.conftest import Caller, stored
from tests.contract.api.test_keys_and_scopes import NOBODYS, OPERATIONS
from wallet.models import Seller

WRITES = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\S+\s+(AS\s+\w+\s+)?SET|DELETE\s+FROM|TRUNCATE|nextval)\b", re.IGNORECASE)
READS = [path for method, path, _scope in OPERATIONS if method == "get" and "{endpoint}" not in path and "{event}" not in path]


@pytest.mark.parametrize("path", READS)
def test_a_get_writes_nothing(api: Caller, paid: dict[str, Any], ada: Seller, path: str) -> None:
    refund = api.post(f"/v1/orders/{paid['id']}/refunds", {}).json()["id"]
    ids = NOBODYS | {"payment": paid["payment"], "order": paid["id"], "refund": refund, "seller": ada.public_id, "entry": "je_1"}
    before = stored()
    with CaptureQueriesContext(connection) as captured:
        answer = api.get(path.format(**ids))
    assert answer.status_code in (200, 400, 404)
    writes = [query["sql"] for query in captured if WRITES.search(query["sql"])]
    assert [sql for sql in writes if "wallet_apikey" not in sql] == []  # the key's last use is noted once a minute
    assert stored() == before
