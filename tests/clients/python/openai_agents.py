"""The MCP client of the OpenAI Agents SDK. It does not tell which protocol it speaks."""

import contextlib

import fleet_checks
from fleet_checks import wire


@contextlib.asynccontextmanager
async def connect():
    async with fleet_checks.form()["fleet"] as server:

        async def list_tools():
            return {"tools": [wire(tool) for tool in await server.list_tools()]}

        async def call_tool(name, arguments):
            return wire(await server.call_tool(name, arguments))

        yield server.session.protocol_version, list_tools, call_tool


fleet_checks.main(connect, refusal=lambda message: "error" in message, package="openai-agents")
