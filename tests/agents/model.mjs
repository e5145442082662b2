// A model provider for the tests, on loopback: what Claude Code and opencode ask of Anthropic's and OpenAI's interfaces.
//
//   node model.mjs PORT_FILE      with the keys that count as MODEL_KEYS, separated by blanks; ends with its standard input
//
// `WRITEFILE name` in what the user said last gets a call of the shell tool that writes this file. All else gets a text with the
// names that the whole conversation has, so that one can tell whether a session was resumed. Prints a line a request.
import { renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';

const keys = process.env.MODEL_KEYS.split(' ');
const names = (text) => [...text.matchAll(/WRITEFILE ([\w.-]+)/g)].map((match) => match[1]);

// Writes the file, and tries what a hostile model would: the daemon's token is three directories above the agent's home.
// Not with `cat`: opencode reads the command, and would ask another question for a file elsewhere.
const script = (file) => `echo written by the agent > ${file}; if (true < ~/../../../auth_token) 2> /dev/null; then touch has-left; fi`;

/** The parts of a conversation in order: {by, text}, where `by` is user, assistant or tool. */
function parts(messages) {
  return messages.flatMap(({ role, content }) =>
    (Array.isArray(content) ? content : [{ type: 'text', text: content ?? '' }]).map((part) => ({
      by: part.type === 'tool_result' ? 'tool' : role,
      text: part.text ?? '',
    })));
}

function answer({ messages = [], tools = [] }) {
  const all = parts(messages).filter(({ by }) => by !== 'system');
  const latest = all.slice(all.findLastIndex(({ by }) => by !== 'user') + 1).map(({ text }) => text).join('\n');
  const tool = tools.map((tool) => tool.function?.name ?? tool.name).find((name) => /^bash$/i.test(name));
  const file = names(latest).at(-1);
  if (tool && file) return { tool, input: { command: script(file), description: `Write ${file}` } };
  const known = names(all.filter(({ by }) => by === 'user').map(({ text }) => text).join('\n'));
  return { text: `This is all. I know of: ${[...new Set(known)].join(' ') || 'nothing'}.` };
}

let count = 0;

function* anthropic(model, { text, tool, input }) {
  const stop_reason = tool ? 'tool_use' : 'end_turn';
  const usage = { input_tokens: 1000, output_tokens: 1 };
  const message = { id: `msg_${count}`, type: 'message', role: 'assistant', model, content: [], stop_reason: null, stop_sequence: null, usage };
  const [content_block, delta] = tool
    ? [{ type: 'tool_use', id: `toolu_${count}`, name: tool, input: {} }, { type: 'input_json_delta', partial_json: JSON.stringify(input) }]
    : [{ type: 'text', text: '' }, { type: 'text_delta', text }];
  yield { type: 'message_start', message };
  yield { type: 'content_block_start', index: 0, content_block };
  yield { type: 'content_block_delta', index: 0, delta };
  yield { type: 'content_block_stop', index: 0 };
  yield { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 50 } };
  yield { type: 'message_stop' };
}

function* openai(model, { text, tool, input }) {
  const chunk = (delta, finish_reason = null, rest = {}) =>
    ({ id: `chat_${count}`, object: 'chat.completion.chunk', created: 1, model, choices: [{ index: 0, delta, finish_reason }], ...rest });
  const call = { index: 0, id: `call_${count}`, type: 'function', function: { name: tool, arguments: JSON.stringify(input) } };
  yield chunk(tool ? { role: 'assistant', tool_calls: [call] } : { role: 'assistant', content: text });
  yield chunk({}, tool ? 'tool_calls' : 'stop', { usage: { prompt_tokens: 1000, completion_tokens: 50, total_tokens: 1050 } });
}

function respond(request, response, raw) {
  const path = request.url.split('?')[0];
  const json = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
    return `${status}`;
  };
  const key = request.headers['x-api-key'] ?? request.headers.authorization?.replace(/^Bearer /, '');
  if (path === '/' || path === '/api/hello') return json(200, {}); // Is anybody there?
  if (!keys.includes(key)) return json(401, { type: 'error', error: { type: 'authentication_error', message: 'not a key of the test' } });
  const body = raw ? JSON.parse(raw) : {};
  if (path.endsWith('/count_tokens')) return json(200, { input_tokens: 1000 });
  const events = { '/v1/messages': anthropic, '/v1/chat/completions': openai }[path];
  if (!events || !body.stream) return json(404, { type: 'error', error: { type: 'not_found_error', message: 'not a part of the test' } });
  const said = answer(body);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events(body.model, said)) {
    response.write(`${event.type ? `event: ${event.type}\n` : ''}data: ${JSON.stringify(event)}\n\n`);
  }
  response.end(events === openai ? 'data: [DONE]\n\n' : '');
  return said.tool ? `${said.tool}: ${said.input.command}` : said.text;
}

const server = http.createServer(async (request, response) => {
  count += 1;
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
