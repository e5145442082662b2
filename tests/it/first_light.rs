//! A newcomer's first minute.

use crate::support::TestDaemon;

#[test]
fn one_command_gives_an_authenticated_server_and_rotation_is_live() {
    let daemon = TestDaemon::start();
    let old = daemon.token();
    assert_eq!(daemon.get("/health").send().status, 200);
    assert_eq!(daemon.get("/mcp/list_agents").send().status, 401);
    let listed = daemon.get("/mcp/list_agents").bearer(&old).send();
    assert_eq!((listed.status, listed.body.as_str()), (200, r#"{"agents":[],"total_count":0}"#));

    let new = daemon.rotate();

    assert_eq!(daemon.get("/mcp/list_agents").bearer(&old).send().status, 401);
    assert_eq!(daemon.get("/mcp/list_agents").bearer(&new).send().status, 200);
    assert_eq!(daemon.token(), new);
}
