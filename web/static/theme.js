// Applies the chosen theme before the page is painted; without a choice the system's preference holds.
// A classic script in the head, so that it runs first.
(() => {
  const KEY = "theme";
  const root = document.documentElement;
  const chosen = localStorage.getItem(KEY);
  if (chosen) root.dataset.theme = chosen;

  const isDark = () =>
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      localStorage.setItem(KEY, root.dataset.theme);
      document.dispatchEvent(new CustomEvent("theme-change"));
    });
  });
})();
