"""What every Python client does with the daemon, whatever its version of the SDK.

A client module gives `connect()`, an async context manager that yields (protocol, list_tools, call_tool);
the results are plain dicts in the spelling of the wire.
"""

import asyncio
import importlib.metadata
import json
import os
import runpy
import sys

TOOLS = {"list_agents", "start_agent_task", "wait_for_agent"}
AGENT = os.environ["FLEET_AGENT"]
TASK = os.environ["FLEET_TASK"]


def form():
    """What the form defines, as it was printed."""
    return runpy.run_path(os.environ["FLEET_MCP_FORM"])


def wire(result):
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def main(connect, refusal, package="mcp"):
    """`works` or `refused`: see tests/clients/run. `refusal` says whether a message is this client's on a 401."""
    answer = {"version": importlib.metadata.version(package)}
    action = sys.argv[1]
    if action == "works":
        answer["protocol"] = asyncio.run(works(connect))
    elif action == "refused":
        answer["message"] = asyncio.run(refused(connect))
        assert "FLEET_MCP_TOKEN" not in os.environ or refusal(answer["message"]), answer["message"]
    else:
        sys.exit(f"unknown action {action}")
    print(json.dumps(answer))


async def works(connect):
    async with connect() as (protocol, list_tools, call_tool):
        listed = await list_tools()
        names = {tool["name"] for tool in listed["tools"]}
        assert TOOLS <= names, f"missing tools: {TOOLS - names}"

        agents = (await call_tool("list_agents", {}))["structuredContent"]["agents"]
        assert AGENT in {agent["name"] for agent in agents}, agents

        await call_tool("start_agent_task", {"agent_name": AGENT, "task_description": TASK})
        ended = (await call_tool("wait_for_agent", {"agent_name": AGENT}))["structuredContent"]
        assert ended["state"] == "done" and ended["task"]["description"] == TASK, ended

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
