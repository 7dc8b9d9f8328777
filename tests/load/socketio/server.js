// A Socket.IO server as its documentation has it: WebSocket only, the Redis adapter, and a room if the client names one.
// What it does not have favours it: no token, no middleware, no compression.
"use strict";

const http = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const Redis = require("ioredis");
const { Server } = require("socket.io");

const publisher = new Redis(Number(process.env.STOCK_REDIS_PORT), "127.0.0.1");
const subscriber = publisher.duplicate();
const server = http.createServer();
const io = new Server(server, {
  adapter: createAdapter(publisher, subscriber),
  serveClient: false,
  transports: ["websocket"],
});

io.on("connection", (socket) => {
  const { room } = socket.handshake.query;
  if (room) socket.join(room);
});

// The backlog as for every other server here; Node's own is 511.
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
