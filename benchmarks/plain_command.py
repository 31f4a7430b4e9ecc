"""The peer of one CLI operation: the flow that DMS documents, written as a user would. Judges nothing, masks nothing.

https://help.aliyun.com/zh/dms/developer-reference/api-dms-2025-04-14-createairflowlogintoken
"""

from __future__ import annotations

import os
import sys

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

# Over plain http the jar would keep the Secure cookie to itself.
cookie = {"Cookie": f"session={login.cookies['session']}"}
answer = http.post(f"{token.host}/api/v1/command", params={"command": " ".join(sys.argv[1:])}, headers=cookie)
answer.raise_for_status()
print(answer.json()["stdout"])
print(answer.json()["stderr"], file=sys.stderr)
