// The TypeScript client, 2.x. Second argument: `auto`, `legacy`, or the one protocol version to speak.
import { Client } from '@modelcontextprotocol/client';

import { main, transport } from './fleet_checks.mjs';

const OPTIONS = {
  auto: { versionNegotiation: { mode: 'auto' } },
  legacy: { versionNegotiation: { mode: 'legacy' } },
  '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } },
  '2025-06-18': { supportedProtocolVersions: ['2025-06-18'] },
};

async function connect() {
  const client = new Client({ name: 'fleet-mcp-test', version: '1' }, OPTIONS[process.argv[3]]);
  await client.connect(await transport());
  return { client, protocol: client.getNegotiatedProtocolVersion() };
}

await main({
  name: '@modelcontextprotocol/client',
  connect,
  refusal: /The access token is invalid or missing|the server requires authorization \(HTTP 401\)/,
});
