"""The Python SDK, 1.x. It always asks for the newest protocol that its release knows, so the release is the pin."""

import contextlib

from mcp import ClientSession

import fleet_checks
from fleet_checks import wire


@contextlib.asynccontextmanager
async def connect():
    async with fleet_checks.form()["fleet"] as (read, write, _):
        async with ClientSession(read, write) as session:
            protocol = (await session.initialize()).protocolVersion

            async def list_tools():
                return wire(await session.list_tools())

            async def call_tool(name, arguments):
                return wire(await session.call_tool(name, arguments))

            yield protocol, list_tools, call_tool


fleet_checks.main(connect, refusal=lambda message: "401 Unauthorized" in message)
