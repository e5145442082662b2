"""What every Python client does with the daemon, whatever its version of the SDK.

A client module gives `connect()`, an async context manager that yields (protocol, list_tools, call_tool);
the results are plain dicts in the spelling of the wire.
"""

import asyncio
import importlib.metadata
import json
import os
import sys

TOOLS = {"list_agents", "list_agent_projects", "list_agent_roles", "show_agent"}
URL = os.environ["FLEET_MCP_URL"]


def headers():
    """The one header an operator configures; none when there is no token."""
    token = os.environ.get("FLEET_MCP_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def main(connect, refusal):
    """`works` or `refused`: see tests/clients/run. `refusal` says whether a message is this client's on a 401."""
    answer = {"version": importlib.metadata.version("mcp")}
    action = sys.argv[1]
    if action == "works":
        answer["protocol"] = asyncio.run(works(connect))
    elif action == "refused":
        answer["message"] = asyncio.run(refused(connect))
        assert refusal(answer["message"]), answer["message"]
    else:
        sys.exit(f"unknown action {action}")
    print(json.dumps(answer))


async def works(connect):
    async with connect() as (protocol, list_tools, call_tool):
        listed = await list_tools()
        names = {tool["name"] for tool in listed["tools"]}
        assert TOOLS <= names, f"missing tools: {TOOLS - names}"

        agents = (await call_tool("list_agents", {}))["structuredContent"]
        assert isinstance(agents["agents"], list), agents
        assert isinstance(agents["total_count"], int), agents

        projects = await call_tool("list_agent_projects", {})
        assert not projects.get("isError"), projects
        assert isinstance(projects["structuredContent"], dict), projects

        unknown = await call_tool("show_agent", {"agent_name": "nobody"})
        assert unknown["isError"] is True, unknown
        assert "nobody" in unknown["content"][0]["text"], unknown
        return protocol


async def refused(connect):
    try:
        async with connect() as (_, list_tools, _call_tool):
            await list_tools()
    except Exception as error:
        return innermost(error)
    raise AssertionError("the daemon let the client in")


def innermost(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
