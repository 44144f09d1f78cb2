// What every page with moving parts needs: relative times that tick, and polling that rests while nobody looks.
import { keepTimesFresh } from "./times.js";

keepTimesFresh();

const banner = document.getElementById("connection");

document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && event.detail?.ctx?.sourceEvent?.type === "every") event.preventDefault();
});
document.addEventListener("htmx:error", () => { banner.hidden = false; });
document.addEventListener("htmx:after:request", () => { banner.hidden = true; });
