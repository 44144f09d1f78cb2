// Runs MQTT.js clients for the tests. One JSON object a line: commands come in, answers and events go out.
//   in   {"number": 1, "client": "a", "do": "connect", ...}
//   out  {"number": 1, "result": ...} or {"number": 1, "code": 135, "error": "..."}; {"client": "a", "event": "message", ...}
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const mqtt = require("mqtt");

const clients = new Map();

function tell(object) {
  process.stdout.write(JSON.stringify(object) + "\n");
}

function told(number, result) {
  return (error, value) => {
    if (error) tell({ number, code: error.code ?? null, error: String(error) });
    else tell({ number, result: result(value) });
  };
}

function watch(name, client) {
  client.on("error", () => {}); // the answer to "connect" tells the first; later ones end in "close"
  client.on("message", (topic, payload, packet) => {
    const { qos, retain, properties } = packet;
    tell({ client: name, event: "message", topic, payload: payload.toString("base64"), qos, retain, properties });
  });
  client.on("disconnect", (packet) => tell({ client: name, event: "disconnect", code: packet.reasonCode }));
  client.on("close", () => tell({ client: name, event: "close" }));
}

function decoded(properties) {
  const { correlationData } = properties ?? {};
  return correlationData ? { ...properties, correlationData: Buffer.from(correlationData, "base64") } : properties;
}

const commands = {
  connect({ number, client: name, options, authority, will }) {
    if (authority) options.ca = fs.readFileSync(authority);
    if (will) options.will = { ...will, payload: Buffer.from(will.payload, "base64") };
    const client = mqtt.connect(options);
    clients.set(name, client);
    let answer = (...about) => {
      answer = () => {};
      told(number, (packet) => packet.sessionPresent)(...about);
    };
    client.on("connect", (packet) => answer(null, packet));
    client.on("error", (error) => answer(error));
    watch(name, client);
  },

  publish({ number, client, topic, payload, options }) {
    const sent = { ...options, properties: decoded(options.properties) };
    clients.get(client).publish(topic, Buffer.from(payload, "base64"), sent, told(number, () => null));
  },

  subscribe({ number, client, filter, options }) {
    clients.get(client).subscribe(filter, options, (error, granted, packet) => {
      const codes = packet?.granted ?? error?.packet?.granted;
      if (codes) tell({ number, result: codes.map((code) => code.qos ?? code)[0] });
      else told(number)(error);
    });
  },

  unsubscribe({ number, client, filter }) {
    clients.get(client).unsubscribe(filter, told(number, () => null));
  },

  end({ number, client }) {
    clients.get(client).end(false, {}, told(number, () => null));
  },
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
