"""The Python SDK, 1.x. It always asks for the newest protocol that its release knows, so the release is the pin."""

import contextlib

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

import fleet_checks


@contextlib.asynccontextmanager
async def connect():
    async with streamablehttp_client(fleet_checks.URL, headers=fleet_checks.headers()) as (read, write, _):
        async with ClientSession(read, write) as session:
            protocol = (await session.initialize()).protocolVersion

            async def list_tools():
                return wire(await session.list_tools())

            async def call_tool(name, arguments):
                return wire(await session.call_tool(name, arguments))

            yield protocol, list_tools, call_tool


def wire(result):
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


fleet_checks.main(connect, refusal=lambda message: "401 Unauthorized" in message)
