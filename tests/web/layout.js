// What is wrong with a page's layout, as sentences: texts and controls that overlap, that leave their card, or a page that
// scrolls sideways. Looks at what is visible: what an ancestor clips or scrolls away does not count.
() => {
  const SLACK = 1.5;  // px; glyphs' boxes are rounded, and lines of small text touch
  const CARDS = ".card, .tiles > div, .banner, .command pre, .bar-inner";
  const CONTROLS = "button, .button, input:not([type=hidden]), select, meter, summary";
  const complaints = [];
  scrollTo(0, 0);  // the bar at the top covers what has scrolled under it
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) complaints.push(`scrolls sideways: ${document.documentElement.scrollWidth} px`);

  const isVisible = (element) => element.checkVisibility({ contentVisibilityAuto: true, opacityProperty: true, visibilityProperty: true })
    && !element.closest(".hidden, .skip, .uplot, option, [hidden]");
  const clipped = (rect, element) => {
    let { left, top, right, bottom } = rect;
    for (let each = element; each && each !== document.body; each = each.parentElement) {
      if (getComputedStyle(each).overflow === "visible") continue;
      const box = each.getBoundingClientRect();
      [left, top, right, bottom] = [Math.max(left, box.left), Math.max(top, box.top), Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    return { left, top, right, bottom };
  };
  const pieces = [];
  const add = (element, place, rect, name) => {
    const box = clipped(rect, place);
    const card = place.closest(CARDS)?.getBoundingClientRect();
    if (box.right - box.left > SLACK && box.bottom - box.top > SLACK) pieces.push({ element, card, box, name });
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (!node.data.trim() || !isVisible(node.parentElement)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) add(node.parentElement, node.parentElement, rect, `"${node.data.trim().slice(0, 30)}"`);
  }
  for (const control of document.querySelectorAll(CONTROLS)) {
    if (isVisible(control)) add(control, control.parentElement, control.getBoundingClientRect(), `${control.localName} ${control.name || control.textContent.trim().slice(0, 20)}`);
  }

  for (const { card, box, name } of pieces) {
    if (box.left < -SLACK || box.right > width + SLACK) complaints.push(`${name} leaves the screen`);
    if (card && (box.left < card.left - SLACK || box.right > card.right + SLACK || box.top < card.top - SLACK || box.bottom > card.bottom + SLACK)) {
      complaints.push(`${name} leaves its card`);
    }
  }
  pieces.sort((one, other) => one.box.top - other.box.top);
  pieces.forEach((one, at) => {
    for (const other of pieces.slice(at + 1)) {
      if (other.box.top >= one.box.bottom - SLACK) break;
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue;
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (across > SLACK && down > SLACK) complaints.push(`${one.name} and ${other.name} overlap by ${across.toFixed(0)} × ${down.toFixed(0)} px`);
    }
  });
  return [...new Set(complaints)];
}
