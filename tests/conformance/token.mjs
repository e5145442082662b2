// A preload of node: requests to this machine carry the token of TOKEN, which the suite has no option for. Others, and those that
// bring an Authorization header of their own, are left alone.
import { subscribe } from 'node:diagnostics_channel';

const token = process.env.TOKEN;
const here = new Set(['127.0.0.1', 'localhost', '[::1]']);

// fetch, and undici itself; the headers are a list of names and values.
subscribe('undici:request:create', ({ request }) => {
  const present = request.headers.some((text) => String(text).toLowerCase() === 'authorization');
  if (here.has(new URL(request.origin).hostname) && !present) request.addHeader('authorization', `Bearer ${token}`);
});

// node:http, whose requests are not under way yet.
subscribe('http.client.request.created', ({ request }) => {
  if (here.has(request.host) && !request.hasHeader('authorization')) request.setHeader('authorization', `Bearer ${token}`);
});
