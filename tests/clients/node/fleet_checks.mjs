// What every TypeScript client does with the daemon, whatever its version of the SDK.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const TOOLS = ['list_agents', 'list_agent_projects', 'list_agent_roles', 'show_agent'];
const { FLEET_MCP_URL, FLEET_MCP_TOKEN } = process.env;

export const url = new URL(FLEET_MCP_URL);
// The one header an operator configures; none when there is no token.
export const requestInit = FLEET_MCP_TOKEN ? { headers: { Authorization: `Bearer ${FLEET_MCP_TOKEN}` } } : {};

// `works` or `refused`: see tests/clients/run. `connect` gives { client, protocol }; `refusal` matches what this
// client says on a 401.
export async function main({ name, connect, refusal }) {
  const { version } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url)));
  const action = { works, refused }[process.argv[2]];
  console.log(JSON.stringify({ version, ...(await action(connect, refusal)) }));
}

async function works(connect) {
  const { client, protocol } = await connect();
  const listed = (await client.listTools()).tools.map((tool) => tool.name);
  for (const tool of TOOLS) assert(listed.includes(tool), `missing tool: ${tool}`);

  const agents = (await client.callTool({ name: 'list_agents', arguments: {} })).structuredContent;
  assert(Array.isArray(agents.agents));
  assert(Number.isInteger(agents.total_count));

  const projects = await client.callTool({ name: 'list_agent_projects', arguments: {} });
  assert(!projects.isError);
  assert.equal(typeof projects.structuredContent, 'object');

  const unknown = await client.callTool({ name: 'show_agent', arguments: { agent_name: 'nobody' } });
  assert.equal(unknown.isError, true);
  assert.match(unknown.content[0].text, /nobody/);
  await client.close();
  return { protocol };
}

async function refused(connect, refusal) {
  const message = await connect().then(
    () => assert.fail('the daemon let the client in'),
    (error) => `${error.constructor.name}${error.code === undefined ? '' : ` ${error.code}`}: ${error.message}`,
  );
  assert.match(message, refusal);
  return { message };
}
