// A device's page: the chart that follows its field, and messages that arrive without a reload.
/* global uPlot, htmx */
import { axis, chart, colours, timeAxis } from "./chart.js";

const CHART_EVERY_MS = 5000;
const LONG_CHART_EVERY_MS = 60000;  // of a week and longer: a bucket of it is half an hour at least
const HOUR_MS = 3600000;
const DAY_MS = 24 * HOUR_MS;
const MESSAGES_EVERY_MS = 2000;
const POINTS = 300;
const HEIGHT = 280;
const KEPT_ROWS = 200;

// --- chart
const section = document.getElementById("chart");

function describe() {
  const { line, band } = colours();
  const text = (_plot, value) => (value == null ? "–" : Number(value.toPrecision(6)).toString());
  const edge = { stroke: band, width: 1, points: { show: false }, value: text };
  return {
    cursor: { drag: { x: true, y: false } },
    scales: { x: { range: (_plot, first, last) => (first === last ? [first - 60, last + 60] : [first, last]) } },  // else years about a single point
    axes: [timeAxis(), axis({ size: 60, space: 40 })],
    bands: [{ series: [3, 1], fill: band }],
    series: [
      { value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
      { ...edge, label: "min" },
      { label: "mean", stroke: line, width: 2, value: text, points: { show: (plot) => plot.data[0].length < 40, fill: line } },
      { ...edge, label: "max" },
    ],
  };
}

function fillTable(points) {
  const body = document.querySelector("#chart-table tbody");
  const cell = (text, className = "number") => {
    const element = document.createElement("td");
    element.className = className;
    element.textContent = text;
    return element;
  };
  body.replaceChildren(...points.toReversed().map(([ts, min, max, mean, count]) => {
    const row = document.createElement("tr");
    const numbers = [min, mean, max].map((value) => cell(Number(value.toPrecision(6))));
    row.append(cell(new Date(ts).toLocaleString(), ""), ...numbers, cell(count));
    return row;
  }));
}

/** The range that is chosen, in ms; null while a range of one's own is not complete. */
function chosenRange() {
  const length = section.querySelector("[name=range]:checked").value;
  if (length) return [Date.now() - Number(length), Date.now()];
  const [from, to] = ["chart-from", "chart-to"].map((id) => Date.parse(`${document.getElementById(id).value}Z`));
  return from < to ? [from, to] : null;
}

/** A range of one's own begins as the one that was shown last. */
function fillCustomRange(from, to) {
  document.getElementById("chart-from").value = new Date(from).toISOString().slice(0, 16);
  document.getElementById("chart-to").value = new Date(to).toISOString().slice(0, 16);
}

function startChart() {
  const field = document.getElementById("field");
  const note = document.getElementById("chart-note");
  const explained = note.textContent;
  const plot = chart(document.getElementById("plot"), HEIGHT, describe);

  let shown = [Date.now() - HOUR_MS, Date.now()];
  let askedMs = 0;

  const refresh = async () => {
    if (document.hidden) return;
    if (!section.querySelector("[name=range]:checked").value && !document.getElementById("chart-from").value) fillCustomRange(...shown);
    const range = chosenRange();
    if (!range) {
      note.textContent = "Choose a time before the other one.";
      return;
    }
    askedMs = Date.now();
    const [from, to] = shown = range;
    const asked = new URLSearchParams({ field: field.value, from, to, points: POINTS });
    const response = await fetch(`${section.dataset.url}?${asked}`).catch(() => null);
    if (!response?.ok || shown !== range) return;  // another range was chosen meanwhile
    const { points, is_partial: isPartial } = await response.json();
    const gap = isPartial ? " The long history does not answer: older numbers may be missing." : "";
    note.textContent = (points.length ? explained : "No number of this field in this time.") + gap;
    plot.update([points.map(([ts]) => Date.parse(ts) / 1000), ...[1, 3, 2].map((part) => points.map((point) => point[part]))]);
    fillTable(points);
  };
  const refreshIfDue = () => {
    const isLong = shown[1] - shown[0] > DAY_MS;
    if (!isLong || Date.now() - askedMs >= LONG_CHART_EVERY_MS) refresh();
  };
  section.addEventListener("change", refresh);
  setInterval(refreshIfDue, CHART_EVERY_MS);
  refresh();
}

// --- messages: only new rows are added, so that an opened payload stays open
const rows = document.getElementById("message-rows");

async function addNewer() {
  if (document.hidden) return;
  const newest = rows.querySelector("tr")?.dataset.id ?? "0-0";
  const address = new URL(rows.dataset.newer, location.href);
  address.searchParams.set("after", newest);
  const response = await fetch(address, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!response?.ok || response.status === 204) return;
  const arrived = document.createElement("tbody");
  arrived.innerHTML = await response.text();
  if (!arrived.rows.length) return;
  document.querySelector("#messages .empty")?.remove();
  const added = [...arrived.rows];
  for (const row of added) row.classList.add("arrived");
  const isAll = added.length < Number(rows.dataset.atOnce);
  if (!isAll) rows.replaceChildren();  // more came than one answer holds: no silent hole between old rows and new
  rows.prepend(...added);
  for (const row of added) htmx.process(row);
  if (!isAll || rows.rows.length > KEPT_ROWS) keepNewest();
}

function keepNewest() {
  while (rows.rows.length > KEPT_ROWS) rows.rows[rows.rows.length - 1].remove();
  const older = document.getElementById("older");
  const address = new URL(older.href);
  address.searchParams.set("before", rows.rows[rows.rows.length - 1].dataset.id);
  older.href = address;
  older.hidden = false;
}

if (rows.dataset.newer) setInterval(addNewer, MESSAGES_EVERY_MS);
if (section) startChart();
