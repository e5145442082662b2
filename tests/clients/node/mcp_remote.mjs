// mcp-remote, the bridge for Claude Desktop: a program that speaks MCP on its standard streams, started as the form says.
import { readFileSync } from 'node:fs';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

import { main } from './fleet_checks.mjs';

const { FLEET_MCP_FORM, FLEET_MCP_TOKEN = 'PUT-THE-TOKEN-HERE' } = process.env;

/** Claude Desktop gives it little more than the form does. `npx` finds it installed, and asks nobody for it. */
function bridge() {
  const form = readFileSync(FLEET_MCP_FORM, 'utf8').replace('PUT-THE-TOKEN-HERE', FLEET_MCP_TOKEN);
  const { command, args, env } = JSON.parse(form).mcpServers.fleet;
  const { HOME, PATH } = process.env;
  return new StdioClientTransport({ command, args, env: { HOME, PATH, npm_config_offline: 'true', ...env }, stderr: 'pipe' });
}

async function connect() {
  const client = new Client({ name: 'fleet-mcp-test', version: '1' });
  const transport = bridge();
  let log = '';
  transport.stderr.on('data', (data) => (log += data));
  try {
    await client.connect(transport);
  } catch (error) {
    // The client sees the end of a program; the reason is in the log that Claude Desktop keeps of it.
    const reason = log.split('\n').map((line) => line.replace(/^\[\d+\] /, '')).find((line) => /error/i.test(line));
    throw new Error(reason ?? `${error.message}\n${log}`);
  }
  return { client, protocol: /"protocolVersion": ?"([^"]+)"/.exec(log)?.[1] };
}

await main({ name: 'mcp-remote', connect, refusal: /Dynamic Client Registration rejected \(HTTP 404\).*it is not the present one/ });
