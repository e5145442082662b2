// What every TypeScript client does with the daemon, whatever its version of the SDK.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const TOOLS = ['list_agents', 'start_agent_task', 'wait_for_agent'];
const { FLEET_AGENT, FLEET_MCP_FORM, FLEET_MCP_TOKEN, FLEET_TASK, HOME } = process.env;

/** The transport that the form makes, as it was printed. */
export async function transport() {
  const file = `${HOME}/form.mjs`;
  writeFileSync(file, `${readFileSync(FLEET_MCP_FORM, 'utf8')}\nexport { transport };\n`);
  return (await import(pathToFileURL(file))).transport;
}

// `works` or `refused`: see tests/clients/run. `connect` gives { client, protocol }; `refusal` matches what this
// client says on a 401; `more` is what only some clients can do.
export async function main({ name, connect, refusal, more }) {
  const { version } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url)));
  const action = { works, refused }[process.argv[2]];
  console.log(JSON.stringify({ version, ...(await action(connect, refusal, more)) }));
}

async function works(connect, refusal, more) {
  const { client, protocol } = await connect();
  const listed = (await client.listTools()).tools.map((tool) => tool.name);
  for (const tool of TOOLS) assert(listed.includes(tool), `missing tool: ${tool}`);
  const call = async (name, input) => (await client.callTool({ name, arguments: input })).structuredContent;

  const { agents } = await call('list_agents', {});
  assert(agents.some(({ name }) => name === FLEET_AGENT));
  await more?.({ client, protocol, call, agent: FLEET_AGENT });

  await call('start_agent_task', { agent_name: FLEET_AGENT, task_description: FLEET_TASK });
  const ended = await call('wait_for_agent', { agent_name: FLEET_AGENT });
  assert.deepEqual([ended.state, ended.task.description], ['done', FLEET_TASK]);

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
  if (FLEET_MCP_TOKEN) assert.match(message, refusal);
  return { message };
}
