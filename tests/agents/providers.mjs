// The interfaces of model providers, as far as agents need them to hold a conversation with model.mjs: each reads a request
// into {parts, tools}, and writes one answer, a text or the call of one tool, as the events that it is streamed in.

let count = 0;
const id = (prefix) => `${prefix}_${(count += 1)}`;
const list = (content) => (Array.isArray(content) ? content : [{ type: 'text', text: content ?? '' }]);
const text = (content) => (typeof content === 'string' ? content : list(content).map((part) => part.text ?? '').join('\n'));
const spoken = (parts) => parts.filter(({ by }) => by !== 'system' && by !== 'developer');

const anthropic = {
  serves: (path, { stream }) => path === '/v1/messages' && stream,

  read: ({ messages = [], tools = [] }) => ({
    parts: spoken(messages.flatMap(({ role, content }) => list(content).map((part) => (part.type === 'tool_result'
      ? { by: 'tool', text: text(part.content) }
      : { by: role, text: part.text ?? '' })))),
    tools: tools.map(({ name }) => ({ name })),
  }),

  * events(model, { text, tool, input }) {
    const stop_reason = tool ? 'tool_use' : 'end_turn';
    const usage = { input_tokens: 1000, output_tokens: 1 };
    const message = { id: id('msg'), type: 'message', role: 'assistant', model, content: [], stop_reason: null, stop_sequence: null, usage };
    const [content_block, delta] = tool
      ? [{ type: 'tool_use', id: id('toolu'), name: tool.name, input: {} }, { type: 'input_json_delta', partial_json: JSON.stringify(input) }]
      : [{ type: 'text', text: '' }, { type: 'text_delta', text }];
    yield { type: 'message_start', message };
    yield { type: 'content_block_start', index: 0, content_block };
    yield { type: 'content_block_delta', index: 0, delta };
    yield { type: 'content_block_stop', index: 0 };
    yield { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 50 } };
    yield { type: 'message_stop' };
  },
};

const completions = {
  serves: (path, { stream }) => path === '/v1/chat/completions' && stream,

  read: ({ messages = [], tools = [] }) => ({
    parts: spoken(messages.flatMap(({ role, content }) => list(content).map((part) => ({ by: role, text: part.text ?? '' })))),
    tools: tools.map((tool) => ({ name: tool.function.name })),
  }),

  * events(model, { text, tool, input }) {
    const chunk = (delta, finish_reason = null, rest = {}) =>
      ({ id: id('chat'), object: 'chat.completion.chunk', created: 1, model, choices: [{ index: 0, delta, finish_reason }], ...rest });
    const call = tool && { index: 0, id: id('call'), type: 'function', function: { name: tool.name, arguments: JSON.stringify(input) } };
    yield chunk(tool ? { role: 'assistant', tool_calls: [call] } : { role: 'assistant', content: text });
    yield chunk({}, tool ? 'tool_calls' : 'stop', { usage: { prompt_tokens: 1000, completion_tokens: 50, total_tokens: 1050 } });
  },

  end: 'data: [DONE]\n\n',
};

/** Codex gives the tools of an MCP server as one tool, a namespace. */
const responses = {
  serves: (path, { stream }) => path === '/v1/responses' && stream,

  read: ({ input = [], tools = [] }) => ({
    parts: spoken(input.flatMap((item) => {
      if (item.type === 'function_call_output') return [{ by: 'tool', text: text(item.output) }];
      if (item.type === 'function_call') return [{ by: 'assistant', text: '' }];
      return item.role ? list(item.content).map((part) => ({ by: item.role, text: part.text ?? '' })) : [];
    })),
    tools: tools.flatMap((tool) => (tool.type === 'namespace'
      ? tool.tools.map(({ name }) => ({ name, namespace: tool.name }))
      : [{ name: tool.name ?? tool.type }])),
  }),

  * events(model, { text, tool, input }) {
    const item = tool
      ? { id: id('fc'), type: 'function_call', status: 'completed', call_id: id('call'), ...tool, arguments: JSON.stringify(input) }
      : { id: id('msg'), type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text, annotations: [] }] };
    const usage = { input_tokens: 1000, input_tokens_details: { cached_tokens: 0 }, output_tokens: 50, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 1050 };
    const response = { id: id('resp'), object: 'response', model, status: 'completed', output: [item], usage };
    yield { type: 'response.created', response: { ...response, status: 'in_progress', output: [] } };
    yield { type: 'response.output_item.done', output_index: 0, item };
    yield { type: 'response.completed', response };
  },
};

const google = {
  serves: (path) => path.endsWith(':streamGenerateContent'),

  read: ({ contents = [], tools = [] }) => ({
    parts: contents.flatMap(({ role, parts }) => parts.map((part) => (part.functionResponse
      ? { by: 'tool', text: JSON.stringify(part.functionResponse.response) }
      : { by: role === 'model' ? 'assistant' : 'user', text: part.text ?? '' }))),
    tools: tools.flatMap(({ functionDeclarations = [] }) => functionDeclarations.map(({ name }) => ({ name }))),
  }),

  * events(model, { text, tool, input }) {
    const part = tool ? { functionCall: { name: tool.name, args: input } } : { text };
    yield {
      candidates: [{ content: { role: 'model', parts: [part] }, finishReason: 'STOP', index: 0 }],
      usageMetadata: { promptTokenCount: 1000, candidatesTokenCount: 50, totalTokenCount: 1050 },
      modelVersion: 'mock',
    };
  },
};

export const providers = [anthropic, completions, responses, google];
