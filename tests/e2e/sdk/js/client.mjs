// Drives npm `centrifuge` by lines of JSON: see ../README.md.
import { createInterface } from 'node:readline';
import { Centrifuge } from 'centrifuge';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

const clients = new Map();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const whoOf = (info) =>
  info && { client: info.client, user: info.user, conn_info: info.connInfo, chan_info: info.chanInfo };
const publicationOf = ({ data, offset, tags, info }) => ({ data, offset, tags, info: whoOf(info) });

/** Give out tokens in turn, the last one again and again; null is a failure to get one. */
function tokens(client, list, channel) {
  let next = 0;
  return async () => {
    say({ client, event: 'token', channel });
    const token = list[Math.min(next++, list.length - 1)];
    if (token === null) throw new Error('no token now');
    return token;
  };
}

/** Report a client's or a subscription's channel events. */
function report(client, source, isServer) {
  const tell = (event, channel, more) => say({ client, event, channel, server: isServer, ...more });
  source.on('subscribing', (c) => tell('subscribing', c.channel, { code: c.code }));
  source.on('subscribed', (c) =>
    tell('subscribed', c.channel, {
      recoverable: c.recoverable,
      was_recovering: c.wasRecovering,
      recovered: c.recovered,
      position: c.streamPosition,
      data: c.data,
    }));
  source.on('unsubscribed', (c) => tell('unsubscribed', c.channel, { code: c.code }));
  source.on('publication', (c) => tell('publication', c.channel, publicationOf(c)));
  source.on('join', (c) => tell('join', c.channel, { info: whoOf(c.info) }));
  source.on('leave', (c) => tell('leave', c.channel, { info: whoOf(c.info) }));
}

function open(name, { url, transport, token, tokens: list, timeout_ms }) {
  const endpoint = `${transport === 'websocket' ? url.replace('http', 'ws') : url}/connection/${transport}`;
  const client = new Centrifuge([{ transport, endpoint }], {
    websocket: WebSocket,
    eventsource: EventSource,
    fetch,
    readableStream: ReadableStream,
    emulationEndpoint: `${url}/emulation`,
    token: token ?? '',
    getToken: list ? tokens(name, list) : null,
    minReconnectDelay: 50,
    maxReconnectDelay: 300,
    maxServerPingDelay: 6000,
    timeout: timeout_ms ?? 5000,
  });
  client.on('connecting', (c) => say({ client: name, event: 'connecting', code: c.code }));
  client.on('connected', (c) => say({ client: name, event: 'connected', id: c.client }));
  client.on('disconnected', (c) => say({ client: name, event: 'disconnected', code: c.code, reason: c.reason }));
  client.on('error', (c) => say({ client: name, event: 'error', code: c.error.code, message: c.error.message }));
  report(name, client, true);
  clients.set(name, client);
}

function subscribe(name, client, { channel, tokens: list, filter, delta, recoverable, positioned, join_leave }) {
  const subscription = client.newSubscription(channel, {
    getToken: list ? tokens(name, list, channel) : null,
    minResubscribeDelay: 50,
    maxResubscribeDelay: 300,
    tagsFilter: filter ?? null,
    delta,
    recoverable,
    positioned,
    joinLeave: join_leave,
  });
  report(name, subscription, false);
  subscription.on('error', (c) =>
    say({ client: name, event: 'error', channel, code: c.error.code, message: c.error.message }));
  subscription.subscribe();
}

const actions = {
  subscribe: (client, line) => subscribe(line.client, client, line),
  connect: (client) => client.connect(),
  disconnect: (client) => client.disconnect(),
  unsubscribe: (client, { channel }) => client.getSubscription(channel).unsubscribe(),
  resubscribe: (client, { channel }) => client.getSubscription(channel).subscribe(),
  publish: (client, { channel, data }) => client.publish(channel, data),
  rpc: async (client, { method, data }) => (await client.rpc(method, data)).data,
  async presence(client, { channel }) {
    const { clients: found } = await client.presence(channel);
    return Object.fromEntries(Object.entries(found).map(([id, info]) => [id, whoOf(info)]));
  },
  async presence_stats(client, { channel }) {
    const stats = await client.presenceStats(channel);
    return { num_clients: stats.numClients, num_users: stats.numUsers };
  },
  async history(client, { channel, limit, since, reverse }) {
    const { publications, offset, epoch } = await client.history(channel, { limit, since, reverse });
    return { publications: publications.map(publicationOf), offset, epoch };
  },
};

for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  const act = async () =>
    line.do === 'open' ? open(line.client, line) : actions[line.do](clients.get(line.client), line);
  act().then(
    (result) => say({ id: line.id, result: result ?? null }),
    (error) => say({ id: line.id, error: { code: error.code ?? -1, message: error.message ?? String(error) } }),
  );
}
process.exit(0);
