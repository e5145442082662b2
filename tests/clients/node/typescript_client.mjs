// The TypeScript client, 2.x. Second argument: `auto`, `legacy`, or the one protocol version to speak.
import assert from 'node:assert/strict';

import { Client } from '@modelcontextprotocol/client';

import { main, transport } from './fleet_checks.mjs';

const OPTIONS = {
  auto: { versionNegotiation: { mode: 'auto' } },
  legacy: { versionNegotiation: { mode: 'legacy' } },
  '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } },
  '2025-06-18': { supportedProtocolVersions: ['2025-06-18'] },
};

async function connect() {
  const options = { capabilities: { elicitation: { form: {} } }, ...OPTIONS[process.argv[3]] };
  const client = new Client({ name: 'fleet-mcp-test', version: '1' }, options);
  await client.connect(await transport());
  return { client, protocol: client.getNegotiatedProtocolVersion() };
}

// It hears of what it listens to, and its user answers what the agent asks, both in the newest protocol only.
async function more({ client, protocol, call, agent }) {
  if (protocol !== '2026-07-28') return;
  const uri = `fleet://agents/${agent}/log`;
  const heard = Promise.withResolvers();
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => heard.resolve(params.uri));
  let asked;
  client.setRequestHandler('elicitation/create', ({ params }) => {
    asked = params;
    return { action: 'accept', content: { choice: 'no' } };
  });
  const stream = await client.listen({ resourceSubscriptions: [uri] });
  assert.deepEqual(stream.honoredFilter, { resourceSubscriptions: [uri] });

  await call('start_agent_task', { agent_name: agent, task_description: 'ask' });
  const ended = await call('wait_for_agent', { agent_name: agent });

  assert.match(asked.message, new RegExp(`Agent \`${agent}\` .* asks for permission`));
  assert.match(ended.last_message, /I was not allowed to write demo\.txt/);
  assert.equal(await heard.promise, uri);
  await stream.close();
}

await main({
  name: '@modelcontextprotocol/client',
  connect,
  more,
  refusal: /The access token is invalid or missing|the server requires authorization \(HTTP 401\)/,
});
