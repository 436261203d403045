// Elements as plain descriptions, and one function that makes the page agree with them. Elements stay where their tag
// and key stay, so that focus, selections and opened parts survive the news of every second.

export function h(tag, attributes, ...children) {
  const { key, ...rest } = attributes ?? {};
  return { tag, key: key ?? null, attributes: rest, children: children.flat(3).filter((one) => one !== null && one !== undefined && one !== false) };
}

export function patch(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) if (node.pageKey) keyed.set(node.pageKey, node);
  let at = parent.firstChild;
  for (const one of wanted) {
    let node = pick(at, one, keyed);
    if (node !== at) parent.insertBefore(node, at);
    else at = at.nextSibling;
    if (typeof one === "object") fill(node, one);
    else if (node.data !== String(one)) node.data = String(one);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function pick(at, one, keyed) {
  if (typeof one !== "object") return at?.nodeType === Node.TEXT_NODE ? at : document.createTextNode("");
  if (one.key !== null && keyed.has(one.key)) return keyed.get(one.key);
  if (at?.nodeType === Node.ELEMENT_NODE && at.localName === one.tag && (at.pageKey ?? null) === one.key) return at;
  const made = document.createElement(one.tag);
  if (one.key !== null) made.pageKey = one.key;
  return made;
}

function fill(node, { attributes, children }) {
  const before = node.pageAttributes ?? {};
  for (const name of Object.keys(before)) if (!(name in attributes)) node.removeAttribute(name);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "width") node.style.width = value;
    else if (before[name] !== value) node.setAttribute(name, value);
  }
  node.pageAttributes = attributes;
  patch(node, children);
}

export const number = (value, digits = 0) => (value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 }));
export const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  return value < 1 ? `${number(value * 1000, value < 0.01 ? 2 : 0)} ms` : `${number(value, 2)} s`;
}
export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
export const link = (kind, name, text) => (name ? h("a", { href: `#/${kind}/${encodeURIComponent(name)}` }, text ?? name) : "–");

export function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  // Wide tables scroll; who has no mouse scrolls them with the arrow keys.
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows.map((one) => one.named(columns)))));
}
// Phones show cells below each other, each with its column's name.
export const row = (key, ...cells) => ({ named: (columns) => h("tr", { key }, cells.map((cell, index) => h("td", { "data-column": columns[index] }, cell))) });
