// A model provider for the tests, on loopback: what agents ask of Anthropic, OpenAI (both interfaces) and Google.
//
//   node model.mjs PORT_FILE      with the keys that count as MODEL_KEYS, separated by blanks; ends with its standard input
//
// What the user said last decides:
//   WRITEFILE name       a call of the shell tool that writes this file
//   CALL tool {…}        a call of this tool; several, a line each, are made one after the other, and the last result is the answer
// All else gets a text with the names that the whole conversation has, so that one can tell whether a session was resumed.
// Prints a line a request.
import { renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';

import { providers } from './providers.mjs';

const keys = process.env.MODEL_KEYS.split(' ');
const names = (text) => [...text.matchAll(/WRITEFILE ([\w.-]+)/g)].map((match) => match[1]);
const calls = (text) => [...text.matchAll(/^CALL (\w+) (\{.*\})$/gm)].map(([, name, input]) => ({ name, input: JSON.parse(input) }));

// Writes the file, and tries what a hostile model would: the daemon's token is three directories above the agent's home.
// Not with `cat`: opencode reads the command, and would ask another question for a file elsewhere.
const script = (file) => `echo written by the agent > ${file}; if (true < ~/../../../auth_token) 2> /dev/null; then touch has-left; fi`;

/** `parts`: the conversation in order, {by, text}, where `by` is user, assistant or tool. `tools`: {name, namespace}. */
function answer({ parts, tools }) {
  const said = (some) => some.map(({ text }) => text).join('\n');
  const latest = said(parts.slice(parts.findLastIndex(({ by }) => by !== 'user') + 1));
  const shell = tools.find(({ name }) => /^bash$/i.test(name));
  const file = names(latest).at(-1);
  if (shell && file) return { tool: shell, input: { command: script(file), description: `Write ${file}` } };
  const chain = next(parts, tools);
  if (chain) return chain;
  const known = names(said(parts.filter(({ by }) => by === 'user')));
  return { text: `This is all. I know of: ${[...new Set(known)].join(' ') || 'nothing'}.` };
}

/** The next of the calls that the user asked for last; once all have a result, the last one. */
function next(parts, tools) {
  const asked = parts.findLastIndex(({ by, text }) => by === 'user' && (calls(text).length || names(text).length));
  if (asked < 0 || !calls(parts[asked].text).length) return undefined;
  const results = parts.slice(asked + 1).filter(({ by }) => by === 'tool');
  const call = calls(parts[asked].text)[results.length];
  if (!call) return { text: `RESULT ${results.at(-1).text}` };
  // Each client gives our tools a prefix of its own.
  const tool = tools.find(({ name }) => name === call.name || name.endsWith(`_${call.name}`));
  return tool ? { tool, input: call.input } : { text: `There is no tool ${call.name} among ${tools.map(({ name }) => name).join(' ')}.` };
}

function respond(request, response, raw) {
  const path = request.url.split('?')[0];
  const json = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
    return `${status}`;
  };
  const key = request.headers['x-api-key'] ?? request.headers['x-goog-api-key'] ?? request.headers.authorization?.replace(/^Bearer /, '');
  if (path === '/' || path === '/api/hello') return json(200, {}); // Is anybody there?
  if (!keys.includes(key)) return json(401, { type: 'error', error: { type: 'authentication_error', message: 'not a key of the test' } });
  const body = raw ? JSON.parse(raw) : {};
  if (/count_?tokens$/i.test(path)) return json(200, { input_tokens: 1000, totalTokens: 1000 });
  const provider = providers.find(({ serves }) => serves(path, body));
  if (!provider) return json(404, { type: 'error', error: { type: 'not_found_error', message: 'not a part of the test' } });
  const said = answer(provider.read(body));
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of provider.events(body.model, said)) {
    response.write(`${event.type ? `event: ${event.type}\n` : ''}data: ${JSON.stringify(event)}\n\n`);
  }
  response.end(provider.end ?? '');
  return said.tool ? `${said.tool.name}: ${said.input.command ?? JSON.stringify(said.input)}` : said.text;
}

const server = http.createServer(async (request, response) => {
  let raw = '';
  for await (const part of request.setEncoding('utf8')) raw += part;
  let outcome;
  try {
    outcome = respond(request, response, raw);
  } catch (error) {
    outcome = error.stack;
    response.destroy();
  }
  console.log(`${request.method} ${request.url} -> ${outcome}`);
});
server.listen(0, '127.0.0.1', () => {
  const [file] = process.argv.slice(2);
  writeFileSync(`${file}.new`, `${server.address().port}\n`);
  renameSync(`${file}.new`, file);
});
process.stdin.on('end', () => process.exit()).resume();
