// Charts in the page's own colours, as wide as their place, drawn anew when theme or width changes.
/* global uPlot */
const COLOURS = ["--chart-line", "--chart-band", "--chart-grid", "--muted"];

/** The colours of the theme in force; each is resolved through a probe, as a canvas takes no variables. */
export function colours() {
  const probe = document.body.appendChild(document.createElement("i"));
  const resolved = COLOURS.map((name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  const [line, band, grid, text] = resolved;
  return { line, band, grid, text };
}

/** An axis in those colours. */
export function axis(options = {}) {
  const { grid, text } = colours();
  return { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "12px system-ui, sans-serif", ...options };
}

/** Labels of a time axis: the time of day in 24 hours, the date where a day begins, the year where a year does. */
function timeLabels(_plot, seconds) {
  return seconds.map((second) => {
    const date = new Date(second * 1000);
    const [hour, minute] = [date.getHours(), date.getMinutes()].map((part) => String(part).padStart(2, "0"));
    if (hour + minute !== "0000") return `${hour}:${minute}`;
    if (date.getMonth() === 0 && date.getDate() === 1) return String(date.getFullYear());
    return date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  });
}

/** The axis of time. */
export function timeAxis() {
  return axis({ values: timeLabels, size: 32 });
}

/** A chart in `place`, `height` px high: `describe()` gives uPlot's options, `update(data)` replaces what it shows. */
export function chart(place, height, describe) {
  let plot = null;
  let data = null;

  const size = () => ({ width: Math.max(place.clientWidth, 200), height });
  const draw = () => {
    plot?.destroy();
    plot = data && new uPlot({ ...describe(), ...size() }, data, place);
  };
  new ResizeObserver(() => plot?.setSize(size())).observe(place);
  document.addEventListener("theme-change", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return {
    update(next) {
      data = next;
      if (plot) plot.setData(next);
      else draw();
    },
    redraw: draw,
  };
}
