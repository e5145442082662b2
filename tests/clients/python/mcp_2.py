"""The Python SDK, 2.x. Second argument: `auto` (the newest protocol) or `legacy` (the newest with a handshake)."""

import contextlib
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import fleet_checks

statuses = []


async def record(response):
    statuses.append(response.status_code)


@contextlib.asynccontextmanager
async def connect():
    async with httpx2.AsyncClient(headers=fleet_checks.headers(), event_hooks={"response": [record]}) as http:
        transport = streamable_http_client(fleet_checks.URL, http_client=http)
        async with Client(transport, mode=sys.argv[2]) as client:

            async def list_tools():
                return wire(await client.list_tools())

            async def call_tool(name, arguments):
                return wire(await client.call_tool(name, arguments))

            yield client.protocol_version, list_tools, call_tool


def wire(result):
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def refusal(message):
    """The SDK passes on neither status nor body of a refusal, so the status is read below it."""
    return "Server returned an error response" in message and statuses[-1] == 401


fleet_checks.main(connect, refusal)
