// The overview's rate chart, and copying the first command. The rest of the page is fetched by its attributes.
/* global uPlot */
import { axis, chart, colours, timeAxis } from "./chart.js";

const EVERY_MS = 5000;
const HEIGHT = 180;
let place = null;
let rate = null;

function describe() {
  const { line, band } = colours();
  return {
    cursor: { y: false },
    legend: { live: true },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.15)] } },
    axes: [timeAxis(), axis({ size: 48, space: 36 })],
    series: [
      { value: "{HH}:{mm}:{ss}" },
      { label: "messages/s", stroke: line, fill: band, width: 2, points: { show: false },
        value: (_plot, value) => (value == null ? "–" : value.toFixed(1)) },
    ],
  };
}

async function refresh() {
  if (document.hidden) return;
  const found = document.getElementById("rate-chart");
  if (!found) return;
  if (found !== place) {
    place = found;
    rate = chart(place, HEIGHT, describe);
  }
  const response = await fetch(place.dataset.url).catch(() => null);
  if (!response?.ok) return;
  const { rate: points } = await response.json();
  rate.update([points.map(([ts]) => Date.parse(ts) / 1000), points.map(([, perSecond]) => perSecond)]);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-button]");
  if (!button) return;
  await navigator.clipboard.writeText(button.closest("[data-copy]").querySelector("code").textContent);
  button.textContent = "Copied";
});

document.addEventListener("htmx:after:swap", () => { if (document.getElementById("rate-chart") !== place) refresh(); });
setInterval(refresh, EVERY_MS);
refresh();
