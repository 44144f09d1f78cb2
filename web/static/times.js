// Relative times: every <time datetime> says how long ago it was and keeps counting, by the server's clock.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
const SKEW_MS = Date.now() - Number(document.documentElement.dataset.now);

/** "now", "12 s ago", "3 min ago": the same words as the server's `ago` filter. */
export function ago(ms) {
  const seconds = Math.floor((Date.now() - SKEW_MS - ms) / 1000);
  if (seconds < 1) return "now";
  const unit = UNITS.find(([length]) => seconds >= length);
  return unit ? `${Math.floor(seconds / unit[0])} ${unit[1]} ago` : `${seconds} s ago`;
}

/** The time of day, in the reader's zone, to the millisecond. */
export function clock(ms) {
  const date = new Date(ms);
  const part = (value, width = 2) => String(value).padStart(width, "0");
  return `${part(date.getHours())}:${part(date.getMinutes())}:${part(date.getSeconds())}.${part(date.getMilliseconds(), 3)}`;
}

function refresh() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const text = ago(Date.parse(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

/** Update all relative times once a second, and after each swap. */
export function keepTimesFresh() {
  setInterval(refresh, 1000);
  document.addEventListener("htmx:after:swap", refresh);
}
