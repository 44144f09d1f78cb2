// The live page: one event stream, or polling where the server has none to spare. Closed while nobody looks.
import { clock } from "./times.js";

const KEPT = 200;
const POLL_MS = 2000;
const PREVIEW_CHARACTERS = 400;

const page = document.getElementById("live");
const list = document.getElementById("stream");
const state = document.getElementById("state");
const pause = document.getElementById("pause");

let source = null;
let timer = null;
let last = "";
let shown = 0;
let skippedBefore = 0;
let skippedNow = 0;
let isPaused = false;

function say(text, isOnline) {
  state.textContent = text;
  state.className = `presence ${isOnline ? "online" : "offline"}`;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function preview(message) {
  const text = message.payload.text ?? `${message.payload.base64} (base64)`;
  const cut = text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)}…` : text;
  return message.is_truncated ? `${cut} (${message.payload_bytes} bytes in all)` : cut;
}

function show(message) {
  last = message.id;
  const row = document.createElement("li");
  const time = element("time", "muted", clock(Date.parse(message.ts)));
  time.dateTime = message.ts;
  time.title = message.ts;
  const device = element("a", "device", message.device);
  device.href = `${page.dataset.device}?${new URLSearchParams({ id: message.device })}`;
  const body = element("div", "body", "");
  body.append(element("span", "topic id", message.topic), element("code", "", preview(message)));
  row.append(time, device, body);
  list.prepend(row);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  document.getElementById("shown").textContent = ++shown;
  document.getElementById("quiet").hidden = true;
}

function showGap() {
  list.prepend(element("li", "muted", "Some messages before the ones above are not shown here; they are stored."));
}

function countSkipped(skipped) {
  skippedNow = skipped;
  document.getElementById("skipped").textContent = skippedBefore + skippedNow;
}

function address(base, parameters) {
  const url = new URL(base, location.href);
  for (const [name, value] of Object.entries(parameters)) if (value) url.searchParams.set(name, value);
  return url;
}

async function poll() {
  const isFetched = await fetchRecent();
  if (timer === null) return;
  say(isFetched ? "Polling every 2 s" : "Waiting for the dashboard…", isFetched);
  timer = setTimeout(poll, POLL_MS);
}

async function fetchRecent() {
  const response = await fetch(address(page.dataset.recent, { after: last })).catch(() => null);
  if (!response?.ok) return false;
  const answer = await response.json();
  if (answer.has_gap) showGap();
  answer.messages.forEach(show);
  last = answer.position;
  countSkipped(skippedNow + answer.skipped);
  return true;
}

function startPolling() {
  timer = 0;
  poll();
}

function open() {
  source = new EventSource(address(page.dataset.stream, { after: last }));
  source.onopen = () => {
    skippedBefore += skippedNow;
    countSkipped(0);
    say("Live", true);
  };
  source.addEventListener("message", (event) => show(JSON.parse(event.data)));
  source.addEventListener("position", (event) => { last = event.lastEventId || last; });
  source.addEventListener("skipped", (event) => countSkipped(JSON.parse(event.data).skipped));
  source.addEventListener("gap", showGap);
  source.addEventListener("store", (event) => {
    const { reachable } = JSON.parse(event.data);
    say(reachable ? "Live" : "The store does not answer; waiting…", reachable);
  });
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) {  // refused: no stream to spare
      source = null;
      startPolling();
    } else say("Reconnecting…", false);
  };
}

function close() {
  source?.close();
  clearTimeout(timer);
  source = timer = null;
}

function follow() {
  const isWanted = !isPaused && !document.hidden;
  const isRunning = source !== null || timer !== null;
  if (isWanted && !isRunning) open();
  if (!isWanted && isRunning) {
    close();
    say(isPaused ? "Paused" : "Resting", false);
  }
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Resume" : "Pause";
  follow();
});
document.addEventListener("visibilitychange", follow);
addEventListener("pagehide", close);
await fetchRecent();
follow();
