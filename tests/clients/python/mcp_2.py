"""The Python SDK, 2.x. Second argument: `auto` (the newest protocol) or `legacy` (the newest with a handshake)."""

import contextlib
import os
import sys

from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import fleet_checks
from fleet_checks import wire

statuses = []


async def record(response):
    statuses.append(response.status_code)


@contextlib.asynccontextmanager
async def connect():
    form = fleet_checks.form()
    http, client = form["http"], form["fleet"]
    http.event_hooks = {"response": [record]}
    if sys.argv[2] == "legacy":
        transport = streamable_http_client(os.environ["FLEET_MCP_URL"], http_client=http)
        client = Client(transport, mode="legacy")
    async with http, client:

        async def list_tools():
            return wire(await client.list_tools())

        async def call_tool(name, arguments):
            return wire(await client.call_tool(name, arguments))

        yield client.protocol_version, list_tools, call_tool


def refusal(message):
    """The SDK passes on neither status nor body of a refusal, so the status is read below it."""
    return "Server returned an error response" in message and statuses[-1] == 401


fleet_checks.main(connect, refusal)
