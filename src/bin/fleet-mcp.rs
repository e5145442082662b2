//! The daemon.

fn main() -> fleet_mcp::exit::Exit {
    fleet_mcp::daemon::main()
}
