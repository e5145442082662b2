"""FastMCP's client."""

import contextlib

import fleet_checks
from fleet_checks import wire


@contextlib.asynccontextmanager
async def connect():
    async with fleet_checks.form()["fleet"] as client:

        async def list_tools():
            return {"tools": [wire(tool) for tool in await client.list_tools()]}

        async def call_tool(name, arguments):
            return wire(await client.call_tool_mcp(name, arguments))

        yield client.protocol_version, list_tools, call_tool


fleet_checks.main(connect, refusal=lambda message: "error" in message, package="fastmcp")
