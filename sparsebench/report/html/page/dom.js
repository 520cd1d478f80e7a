// Elements. Every text becomes a text node: nothing that comes from a record is ever read as markup.

/** An HTML element; properties starting with "on" are listeners, "class" and "aria-..." are attributes. */
function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An SVG element. */
function s(tag, props, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'vars') for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A sentence in which `names` stand in backticks. */
function prose(text) {
  return text.split('`').map((part, place) => (place % 2 ? h('code', {}, part) : part));
}

/** A method's name, which may break behind the signs that join its parts. */
const breakable = (name) => name.split(/(?<=[@/+(,])/).flatMap((part, at) => [at ? h('wbr') : '', part]);

/** A labelled choice. options: [[value, label], ...] */
function choice(label, options, value, onchange) {
  const select = h(
    'select',
    { onchange: () => onchange(select.value) },
    options.map(([v, text]) => h('option', { value: v, selected: String(v) === String(value) }, text)),
  );
  return h('label', { class: 'choice' }, h('span', {}, label), select);
}

/** Buttons of which one is pressed. */
function segments(label, options, value, onchange) {
  return h(
    'div',
    { class: 'segments', role: 'group', 'aria-label': label },
    options.map(([v, text]) =>
      h('button', { type: 'button', 'aria-pressed': String(v === value), onclick: () => onchange(v) }, text),
    ),
  );
}

/** Replaces the content of a place; what had the focus keeps it, if it is still there under the same data-key. */
function redraw(place, ...children) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolls = [...place.querySelectorAll('.scroll')].map((part) => part.scrollLeft);
  place.replaceChildren(...children.flat(3).filter(Boolean));
  place.querySelectorAll('.scroll').forEach((part, at) => (part.scrollLeft = scrolls[at] || 0));
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}
