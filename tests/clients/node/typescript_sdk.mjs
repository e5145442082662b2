// The TypeScript SDK, 1.x. It always asks for the newest protocol that its release knows.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';

import { main, transport } from './fleet_checks.mjs';

async function connect() {
  const client = new Client({ name: 'fleet-mcp-test', version: '1' });
  const http = await transport();
  await client.connect(http);
  return { client, protocol: http.protocolVersion };
}

await main({ name: '@modelcontextprotocol/sdk', connect, refusal: /401.*The access token is invalid or missing/ });
