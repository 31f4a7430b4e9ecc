"""The peer of `rest` with --paginate: the documented login, then page by page, each by the number of entries seen so far."""

from __future__ import annotations

import json
import os

import requests
from alibabacloud_dms20250414.client import Client
from alibabacloud_dms20250414.models import CreateAirflowLoginTokenRequest
from alibabacloud_tea_openapi.models import Config

config = Config(
    access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
    access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    endpoint=os.environ["ENDPOINT"],
    protocol=os.environ.get("PROTOCOL", "http"),
)
request = CreateAirflowLoginTokenRequest(airflow_id=os.environ["AIRFLOW_ID"])
token = Client(config).create_airflow_login_token(request).body.data

http = requests.Session()
login = http.get(f"{token.host}/login", params={"token": token.token}, allow_redirects=False)
login.raise_for_status()
cookie = {"Cookie": f"session={login.cookies['session']}"}

dags: list[object] = []
while True:
    page = http.get(f"{token.host}/api/v1/dags", params={"limit": 100, "offset": len(dags)}, headers=cookie)
    page.raise_for_status()
    told = page.json()
    dags += told["dags"]
    if not told["dags"] or len(dags) >= told["total_entries"]:
        break
print(json.dumps(dags))
