// Aedes with its state in memory, and each device message stored in Redis (XADD) before PUBACK.
// Usage: node aedes_xadd.mjs PORT REDIS_SOCKET
// The message is stored in authorizePublish, the one hook that Aedes awaits before it acknowledges.

import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import Redis from 'ioredis'

const [port, redisSocket] = process.argv.slice(2)
const redis = new Redis({ path: redisSocket, enableAutoPipelining: true })

const broker = await Aedes.createBroker({
  concurrency: 1000,
  authorizePublish (client, packet, done) {
    if (client === null) return done(null)
    redis
      .xadd('log', '*', 'topic', packet.topic, 'client', client.id, 'payload', packet.payload)
      .then(() => done(null), done)
  }
})

createServer({ noDelay: true }, broker.handle).listen(Number(port), '127.0.0.1')
