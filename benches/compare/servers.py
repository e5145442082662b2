"""The programs that are measured, started and asked: the daemon, what it is compared with, and wrk, which asks."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
MIB = 1024 * 1024
JSON_RPC = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}


class Request:
    """A request that is sent again and again."""

    def __init__(self, method, path, headers=None, body="", refused=False):
        self.method, self.path, self.headers, self.body, self.refused = method, path, headers or {}, body, refused

    @classmethod
    def mcp(cls, method, params=None, token=None):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method} | ({"params": params} if params else {}))
        return cls("POST", "/mcp", JSON_RPC | bearer(token), body)

    @classmethod
    def list_agents(cls, token=None, paged=False):
        arguments = {"page": 1, "page_size": 100} if paged else {}
        return cls.mcp("tools/call", {"name": "list_agents", "arguments": arguments}, token)


def bearer(token):
    return {"Authorization": f"Bearer {token}"} if token else {}


class Server:
    """A process that serves on `address`."""

    def __init__(self, command, core, **more):
        pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
        self.process = subprocess.Popen([*pinned, *command], **more)

    def ask(self, request):
        """One answer, on a connection of its own: status, headers, body."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        connection.request(request.method, request.path, request.body or None, request.headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def processor_time(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        return memory(self.process.pid)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


def memory(pid):
    """Resident, and its proportional share, in MiB."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in rollup[1:]}
    return {"rss": sizes["Rss"], "pss": sizes["Pss"], "private": sizes["Private_Clean"] + sizes["Private_Dirty"]}


class Peer(Server):
    """`compare bare` or `compare rmcp`."""

    def __init__(self, programs, kind, told, core):
        super().__init__([programs / "compare", kind], core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(told))
        self.process.stdin.close()
        host, port = self.process.stdout.readline().strip().rsplit(":", 1)
        self.address = host, int(port)


class Daemon(Server):
    """A daemon with authentication on and a state directory of its own, as it comes but for the settings given."""

    def __init__(self, programs, directory, core=None, agents=0, tls=False, **settings):
        self.programs, self.directory = programs, pathlib.Path(directory)
        self.state = self.directory / "state"
        self.control_path = str(self.directory / "control.sock")
        self.settings = {
            "AUTH_ENABLED": "true",
            "LISTEN": f"127.0.0.1:{free_port()}",
            "STATE_DIR": self.state,
            "CONTROL_SOCKET": self.control_path,
            "FLEET_MAX_AGENTS": max(64, agents),
        } | settings
        if tls:
            subprocess.run([programs / "compare", "certificate", self.directory], check=True)
            self.settings |= {"HTTP_TLS_CERTIFICATE": self.directory / "certificate.pem", "HTTP_TLS_KEY": self.directory / "key.pem"}
        if agents:
            self.state.mkdir(mode=0o700)
            subprocess.run([programs / "compare", "fill", self.state, str(agents)], check=True)
        self.core = core
        self.config = self.directory / "config.toml"
        demo = f'command = "{programs}/fleet-mcp"\nargs = ["demo-agent"]'
        self.config.write_text(f'[agents.demo]\n{demo}\n[roles.demo]\nagent = "demo"\n')
        self.start()

    def start(self):
        """Starts it; how long until it said that it is ready, and until `/health` was answered with 200."""
        host, port = self.settings["LISTEN"].rsplit(":", 1)
        self.address = host, int(port)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_MCP_")}
        ours = {f"FLEET_MCP_{name}": str(value) for name, value in self.settings.items()}
        notify = self.directory / "notify.sock"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, open(self.directory / "log", "ab") as log:
            manager.bind(str(notify))
            manager.settimeout(60)
            environment = clean | ours | {"HOME": str(self.directory), "NOTIFY_SOCKET": str(notify)}
            began = time.perf_counter()
            super().__init__(
                [self.programs / "fleet-mcp", "--config", self.config], self.core, env=environment, cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
            try:
                while b"READY=1" not in manager.recv(4096).split(b"\n"):
                    pass
            except TimeoutError:
                sys.exit(f"the daemon did not start:\n{(self.directory / 'log').read_text()[-2000:]}")
            ready = time.perf_counter() - began
        if "HTTP_TLS_KEY" not in self.settings:
            while self.ask(Request("GET", "/health"))[0] != 200:
                pass
        healthy = time.perf_counter() - began
        self.token = json.loads((self.state / "auth_token").read_text())["value"]
        self.environment = environment
        return ready, healthy

    def control(self, method, path, body=None):
        """One answer on the control socket."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.control_path)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def tool(self, tool, **arguments):
        return self.control("POST", f"/v1/tools/{tool}", arguments)

    def rotate(self):
        self.token = self.control("POST", "/v1/tokens/default/rotate")["secret"]

    def hosts(self):
        """The processes of its agents' hosts."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and b"agent-host" in (entry / "cmdline").read_bytes().split(b"\0"):
                    status = (entry / "status").read_text()
                    if f"\nPPid:\t{self.process.pid}\n" in status:
                        found.append(int(entry.name))
        return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def wrk(server, request, core, seconds, connections=32, tls=False, close=False):
    """Asks as fast as it is answered; what came of it."""
    command = wrk_command(server, core, seconds, connections, tls)
    before = server.processor_time()
    done = subprocess.run(command, env=wrk_environment(request, close), capture_output=True, text=True, check=True)
    result = counted(done.stdout, request)
    result["processor_us"] = (server.processor_time() - before) * 1e6 / result["requests"]
    return result


@contextlib.contextmanager
def under_load(server, request, core, seconds=3600, connections=32):
    """Asks meanwhile."""
    command = wrk_command(server, core, seconds, connections, tls=False)
    load = subprocess.Popen(command, env=wrk_environment(request, False), stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        load.kill()
        load.wait()


def wrk_command(server, core, seconds, connections, tls):
    host, port = server.address
    pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
    url = f"{'https' if tls else 'http'}://{host}:{port}"
    script = pathlib.Path(__file__).with_name("request.lua")
    return [*pinned, "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--script", script, url]


def wrk_environment(request, close):
    headers = request.headers | ({"Connection": "close"} if close else {})
    return os.environ | {
        "COMPARE_METHOD": request.method,
        "COMPARE_PATH": request.path,
        "COMPARE_HEADERS": "\n".join(f"{name}: {value}" for name, value in headers.items()),
        "COMPARE_BODY": request.body,
    }


def counted(output, request):
    result = json.loads(output.splitlines()[-1])
    expected = result["requests"] if request.refused else 0
    if result["broken"] or abs(result["refused"] - expected) > 0 or not result["requests"]:
        raise RuntimeError(f"{request.method} {request.path}: {result}")
    return result | {"per_second": result["requests"] / result["seconds"]}


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def fsyncs(directory, times=200):
    """How long this disk takes to make 4 KiB durable, in milliseconds, sorted."""
    took = []
    with open(pathlib.Path(directory) / "fsync", "wb") as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    os.unlink(pathlib.Path(directory) / "fsync")
    return took


def spread(values, unit="ms", digits=1):
    return f"median {statistics.median(values):.{digits}f} {unit}, p99 {percentile(values, 0.99):.{digits}f} {unit}"


def table(headings, rows):
    line = lambda cells: f"| {' | '.join(cells)} |"
    return [line(headings), line("---" for _ in headings), *(line(row) for row in rows)]


def write(mark, lines):
    """Into docs/performance.md, between a mark and the next "end"."""
    before, rest = PAGE.read_text().split(f"<!-- {mark} -->\n")
    after = rest.split("<!-- end -->", 1)[1]
    PAGE.write_text("\n".join([f"{before}<!-- {mark} -->", *lines, "<!-- end -->" + after]))
