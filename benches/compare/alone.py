"""The daemon alone: start, memory, rotation, streams, clients that wait. Each function gives rows: what, figure to reach, measured."""

import contextlib
import re
import resource
import select
import shutil
import socket
import subprocess
import tempfile
import time

from servers import MIB, ROOT, Daemon, Request, fsyncs, memory, spread, under_load

HEADINGS = ["what", "to reach", "measured"]


@contextlib.contextmanager
def daemon(options, core=None, **settings):
    directory = tempfile.mkdtemp(dir=options.directory)
    running = Daemon(options.programs, directory, core, **settings)
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(directory)


def starts(options):
    """From the call of exec to what is seen outside; the first start makes the token and the store."""
    first, later = [], []
    for _ in range(options.starts):
        with daemon(options) as running:
            running.end()
            shutil.rmtree(running.state)
            first.append(running.start())
            running.end()
            later.append(running.start())
    rows = []
    for what, goal, pairs in (("start, state there", "≤ 30 ms", later), ("first start", "", first)):
        ready, healthy = ([1000 * pair[side] for pair in pairs] for side in (0, 1))
        rows.append([f"{what}: to `READY=1`", goal, spread(ready)])
        rows.append([f"{what}: to the first 200 of `/health`", goal, spread(healthy)])
    return rows


def footprint(options):
    """What it takes on disk and in memory: at rest, after load, after a crowd."""
    rows = [[f"`{name}`, stripped", "", f"{(options.programs / name).stat().st_size / MIB:.1f} MiB"] for name in ("fleet-mcp", "fleetctl")]
    with daemon(options, agents=3, HTTP_MAX_CONNECTIONS=8192) as running:
        time.sleep(2)
        rows.append(["memory at rest", "≤ 12 MiB", told(running.memory())])
        with under_load(running, Request.list_agents(running.token), options.cores[1], connections=64):
            time.sleep(options.load_seconds)
            most = running.memory()
        rows.append([f"memory under {options.load_seconds} s of `list_agents`, 64 connections", "≤ 24 MiB", told(most)])
        count = crowd(running, options)
        rows.append([f"memory with {count} connections that have had an answer", "", told(running.crowded)])
        for seconds in (2, 30):
            time.sleep(seconds)
            rows.append([f"memory {seconds} s after they are gone", "", told(running.memory())])
    return rows


def told(of):
    return f"{of['rss']:.1f} MiB resident (PSS {of['pss']:.1f}, private {of['private']:.1f})"


def crowd(running, options):
    """As many clients as may be, at once, each with an answer, and then none."""
    count = min(options.crowd, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    request = text_of(running, Request.list_agents(running.token))
    clients = []
    for number in range(count):
        client = socket.create_connection(running.address, source_address=(f"127.0.1.{number % 200 + 1}", 0))
        client.sendall(request)
        clients.append(client)
    for client in clients:
        # So many at once are more than `http.max_requests` allows: some are told so.
        if not client.recv(65536).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 ")):
            raise RuntimeError("a client of the crowd got no answer")
    running.crowded = running.memory()
    for client in clients:
        client.close()
    return count


def text_of(running, request):
    host, port = running.address
    headers = request.headers | {"Host": f"{host}:{port}", "Content-Length": len(request.body)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n{request.body}".encode()


def rotations(options):
    """`fleetctl rotate` as an operator calls it, and this disk's syncs beside it, in turns."""
    rows = []
    with daemon(options, agents=3) as running:
        request = Request("GET", "/mcp/list_agents", refused=True)
        for what, goal, load in (
            ("`fleetctl rotate`", "≤ 5 ms and two syncs", contextlib.nullcontext()),
            ("`fleetctl rotate` while refused requests come as fast as they are answered", "", under_load(running, request, options.cores[1])),
        ):
            took, syncs = [], []
            with load:
                for _ in range(options.rotations):
                    syncs += fsyncs(running.state, 2)
                    began = time.perf_counter()
                    subprocess.run([running.programs / "fleetctl", "rotate"], env=running.environment, capture_output=True, check=True)
                    took.append(1000 * (time.perf_counter() - began))
            rows.append([what, goal, f"{spread(took)}; one sync of 4 KiB beside it: {spread(syncs, digits=2)}"])
    return rows


def revocations(options):
    """From sending the order that ends a secret to the end of a stream that was opened with it."""
    took = []
    with daemon(options) as running:
        running.tool("create_agent", name="a", project="scratch", role="demo", task="slow")
        for _ in range(options.streams):
            client = socket.create_connection(running.address)
            request = wait_for("a", running.token)
            request.headers["Connection"] = "close"
            client.sendall(text_of(running, request))
            seen = b""
            while b"notifications/progress" not in seen:
                seen += client.recv(65536)
            began = time.perf_counter()
            running.rotate()
            while client.recv(65536):
                pass
            took.append(1000 * (time.perf_counter() - began))
            client.close()
        running.tool("delete_agent", agent_name="a")
    return [["a stream ends when its token is rotated, the rotation included", "p99 ≤ 50 ms", spread(took)]]


def wait_for(agent, token, progress=True):
    meta = {"_meta": {"progressToken": "steps"}} if progress else {}
    arguments = {"agent_name": agent, "timeout_seconds": 600}
    return Request.mcp("tools/call", {"name": "wait_for_agent", "arguments": arguments} | meta, token)


def waiting(options):
    """Many clients that wait for one agent, whose task writes five times a second."""
    count = 500
    with daemon(options, core=options.cores[0], HTTP_MAX_REQUESTS=count + 50) as running:
        running.tool("create_agent", name="a", project="scratch", role="demo", task="slow")
        time.sleep(2)
        alone = busy(running, options.wait_seconds)
        before = running.memory()["rss"]
        request = text_of(running, wait_for("a", running.token, progress=False))
        clients = [socket.create_connection(running.address) for _ in range(count)]
        poll = select.epoll()
        for client in clients:
            client.sendall(request)
            poll.register(client, select.EPOLLIN)
        time.sleep(1)
        together = busy(running, options.wait_seconds)
        each = (running.memory()["rss"] - before) * 1024 / count
        left = {client.fileno(): client for client in clients}
        began = time.perf_counter()
        running.tool("cancel_agent_task", agent_name="a")
        answered = time.perf_counter() - began
        while left:
            for descriptor, _ in poll.poll(30):
                if b'"canceled"' not in left.pop(descriptor).recv(65536):
                    raise RuntimeError("a client that waited was told something else")
                poll.unregister(descriptor)
        last = time.perf_counter() - began
        poll.close()
        for client in clients:
            client.close()
        running.tool("delete_agent", agent_name="a")
    return [
        [f"{count} clients wait for an agent: processor", "", f"{together:.1f} % of a core; with none of them {alone:.1f} %"],
        [f"{count} clients wait for an agent: memory", "", f"{each:.1f} KiB each"],
        [f"{count} clients wait for an agent: its task is canceled", "", f"answered after {1000 * answered:.0f} ms, all of them woken after {1000 * last:.0f} ms"],
    ]


def busy(running, seconds):
    before = running.processor_time()
    time.sleep(seconds)
    return 100 * (running.processor_time() - before) / seconds


def agents(options):
    """What an agent costs that has no work: asleep in the store, and with its processes."""
    rows, rss = [], {}
    for count in (0, 10_000):
        with daemon(options, agents=count) as running:
            time.sleep(1)
            rss[count] = running.memory()["rss"]
    each = (rss[10_000] - rss[0]) * 1024 / 10_000
    rows.append(["the daemon's memory for an agent without a session, of 10,000", "≤ 64 KiB", f"{each:.1f} KiB"])
    count, first = options.live_agents, 8
    with daemon(options, FLEET_MAX_TASKS=count) as running:
        rss = []
        # What the first ones bring into memory is not for one agent: code, tables of tools, statements.
        for numbers in (range(first), range(first, first + count)):
            for number in numbers:
                running.tool("create_agent", name=f"a{number}", project="scratch", role="demo", task="hello")
            for number in numbers:
                running.tool("wait_for_agent", agent_name=f"a{number}", timeout_seconds=60)
            time.sleep(2)
            rss.append(running.memory()["rss"])
        each = (rss[1] - rss[0]) * 1024 / count
        hosts = [memory(pid) for pid in running.hosts()]
        if len(hosts) != first + count:
            raise RuntimeError(f"{first + count} agents have {len(hosts)} hosts")
        for number in range(first + count):
            running.tool("delete_agent", agent_name=f"a{number}")
    rows.append([f"the daemon's memory for an idle agent with its processes, of {count} after the first {first}", "≤ 64 KiB", f"{each:.1f} KiB"])
    mean = {kind: sum(host[kind] for host in hosts) / count for kind in hosts[0]}
    rows.append([f"an agent's host, mean of {first + count}", "≤ 3 MiB", told(mean)])
    return rows


def benches(options):
    """What the package's own benchmarks say."""
    told = "".join(
        subprocess.run(["cargo", "bench", "--locked", "--bench", bench], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for bench in ("tokens", "fleet_db")
    )
    kinds = {
        r"memory of 100000 tokens: (.*)": ["memory of a token, of 100,000", "≤ 512 bytes"],
        r"one request, 1 token: (.*)": ["authentication of a request, one token", "≤ 1 µs"],
        r"100000 tokens, all of them busy: (.*)": ["authentication of a request, 100,000 tokens", "≤ 2 µs"],
        r"  1 event of 120 bytes a commit: (.*)": ["events made durable, 50 agents, each waits for each", ""],
        r"  10 events of 120 bytes a commit: (.*)": ["events made durable, 50 agents, 10 at once", "≥ 20,000 a second"],
        r"  10 joined pieces of 20 bytes a commit: (.*)": ["pieces of a message made durable, 50 agents, 10 at once", "≥ 20,000 a second"],
    }
    return [[*row, re.search(f"^{pattern}$", told, re.MULTILINE)[1]] for pattern, row in kinds.items()]


PARTS = [starts, footprint, rotations, revocations, waiting, agents, benches]
