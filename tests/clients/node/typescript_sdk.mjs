// The TypeScript SDK, 1.x. It always asks for the newest protocol that its release knows.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { main, requestInit, url } from './fleet_checks.mjs';

async function connect() {
  const client = new Client({ name: 'fleet-mcp-test', version: '1' });
  const transport = new StreamableHTTPClientTransport(url, { requestInit });
  await client.connect(transport);
  return { client, protocol: transport.protocolVersion };
}

await main({ name: '@modelcontextprotocol/sdk', connect, refusal: /401.*The access token is invalid or missing/ });
