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

/** A chart in `place`: `describe()` gives uPlot's options, `update(data)` replaces what it shows. */
export function chart(place, describe) {
  let plot = null;
  let data = null;

  const size = () => ({ width: Math.max(place.clientWidth, 200), height: place.clientHeight });
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
