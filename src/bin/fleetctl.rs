//! The control program.

fn main() -> fleet_mcp::exit::Exit {
    fleet_mcp::cli::main()
}
