"""The daemon and what it is compared with, in turns on one core, asked from another."""

import json
import statistics
from dataclasses import dataclass, field

from servers import Daemon, Peer, Request, bearer, percentile, wrk

WRONG = "wrong" + "0" * 38


@dataclass
class Contest:
    """Two servers that give the same answer. Each round has a ratio: the first's requests a second by the other's."""

    what: str
    goal: str
    ours: tuple
    theirs: tuple
    against: str
    options: dict = field(default_factory=dict)
    rounds: list = field(default_factory=list)

    def round(self, number, core, seconds):
        sides = [self.ours, self.theirs]
        results = [None, None]
        for side in ((0, 1), (1, 0))[number % 2]:
            server, request, *more = sides[side]
            results[side] = wrk(server, request, core, seconds, **self.options | (more[0] if more else {}))
        self.rounds.append(results)

    def row(self):
        ratios = [ours["per_second"] / theirs["per_second"] for ours, theirs in self.rounds]
        ours, theirs = ([sides[side] for sides in self.rounds] for side in (0, 1))
        rate = lambda side: f"{statistics.median(result['per_second'] for result in side):,.0f}"
        ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"
        p99, processor, others = (
            statistics.median(result[key] for result in side)
            for key, side in (("p99_us", ours), ("processor_us", ours), ("processor_us", theirs))
        )
        cost = f"{processor:.1f} ({others:.1f}) µs"
        return [self.what, self.against, self.goal, ratio, rate(ours), rate(theirs), cost, f"{p99 / 1000:.1f} ms"]


HEADINGS = ["what", "against", "to reach", "ratio, median (least–most)", "a second", "the other", "processor time of one (the other's)", "p99"]


def contests(programs, directory, servers, core):
    """All of them, with their servers, which are added to `servers`."""
    def daemon(name, **settings):
        (directory / name).mkdir()
        servers.append(Daemon(programs, directory / name, core, **settings))
        return servers[-1]

    def peer(kind, told):
        servers.append(Peer(programs, kind, told, core))
        return servers[-1]

    few, hundred, many = (daemon(f"agents-{count}", agents=count) for count in (3, 100, 10_000))
    secure = daemon("tls", agents=3, tls=True)
    health = Request("GET", "/health")
    refusals = {
        "401, no token, no body": Request("GET", "/mcp/list_agents", refused=True),
        "401, wrong token, no body": Request("GET", "/mcp/show_agent", bearer(WRONG), refused=True),
        "401, wrong token, body of 1 KiB": Request("POST", "/mcp/create_agent", bearer(WRONG), "x" * 1024, refused=True),
    }
    told = {request.path: recorded(few.ask(request)) for request in (health, *refusals.values())}
    bare = peer("bare", told)
    yield Contest("`/health`", "", (few, health), (bare, health), "bare axum")
    for what, request in refusals.items():
        yield Contest(what, "≥ 0.90", (few, request), (bare, request), "bare axum")

    tools = few.ask(Request.mcp("tools/list", token=few.token))
    fleets = [("3 agents", few, False), ("100 agents", hundred, False), ("10,000 agents, page of 100", many, True)]
    for count, server, paged in fleets:
        ours, theirs = Request.list_agents(server.token, paged), Request.list_agents(None, paged)
        answer = server.ask(ours)
        told = {"tools": result(tools)["tools"], "answer": result(answer)["structuredContent"]}
        rmcp = peer("rmcp", told)
        same(answer, rmcp.ask(theirs))
        if server is few:
            listing = Request.mcp("tools/list")
            same(tools, rmcp.ask(listing))
            mine = Request.mcp("tools/list", token=few.token)
            yield Contest("`tools/list`", "", (few, mine), (rmcp, listing), "rmcp alone")
        goal = "≥ 0.90" if server is few else ""
        yield Contest(f"`list_agents`, {count}", goal, (server, ours), (rmcp, theirs), "rmcp alone")
    listing = Request.list_agents(few.token)
    over_tls = Request.list_agents(secure.token)
    secured = (secure, over_tls, {"tls": True})
    yield Contest("`list_agents` over TLS, kept connections", "", secured, (few, listing), "without TLS")
    closing = {"close": True}
    yield Contest("`list_agents`, a connection for each", "", (few, listing, closing), (few, listing), "kept connections")
    yield Contest("`list_agents` over TLS, a connection for each", "", secured, (few, listing), "without TLS", closing)


def recorded(answer):
    status, headers, body = answer
    ours = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "date", "connection")}
    return {"status": status, "headers": ours, "body": body}


def result(answer):
    return json.loads(answer[2])["result"]


def same(ours, theirs):
    if ours[2] != theirs[2]:
        raise RuntimeError(f"not the same answer:\n{ours[2][:2000]}\n{theirs[2][:2000]}")


def latency(servers, core, seconds):
    """One client on one kept connection, with 10,000 agents."""
    many = servers[2]
    asked = wrk(many, Request.list_agents(many.token, paged=True), core, seconds, connections=1)
    return asked["p99_us"] / 1000


def run(programs, directory, cores, rounds, seconds, tell):
    """The rows of the table, and the p99 of one page of a large fleet in ms."""
    servers, p99s = [], []
    try:
        all_contests = list(contests(programs, directory, servers, cores[0]))
        for number in range(rounds):
            # Each begins somewhere else, so that nobody always comes first.
            first = number * 3 % len(all_contests)
            for contest in all_contests[first:] + all_contests[:first]:
                contest.round(number, cores[1], seconds)
            p99s.append(latency(servers, cores[1], seconds))
            tell(f"round {number + 1} of {rounds}")
        return [contest.row() for contest in all_contests], percentile(p99s, 0.5)
    finally:
        for server in servers:
            server.end()
