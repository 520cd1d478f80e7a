// Curves: a metric against sparsity (or speed-up), a panel a task, means with 95 % bands over seeds.

const WIDTH = 340;
const BOX = { left: 38, right: 332, top: 10, bottom: 218 };
const FEW = 10; // methods that are all drawn at first; of more, the first SOME
const SOME = 6;
const SLOTS = 9; // colours; after them they come again, dashed
const MARKERS = ['●', '■', '▲', '◆', '▼'];

const picked = { methods: null, slots: new Map(), metric: 'top1', axis: 'sparsity', bands: 'on' };

function curvesSection(model) {
  const place = h('section', { id: 'curves', 'aria-labelledby': 'curves-title' });
  picked.methods = new Set(firstPick(model));
  const draw = () => redraw(place, curvesContent(model, draw));
  onState((names) => names.some((name) => name !== 'open' && name !== 'view') && draw());
  draw();
  return place;
}

/** All of a few methods; of many, the best by rank, the best random one and the baseline, so that there is a measure. */
function firstPick(model) {
  if (model.methods.length <= FEW) return model.methods;
  const more = [model.methods.find((method) => method.startsWith('random')), model.board.baseline];
  return [...new Set([...model.methods.slice(0, SOME), ...more.filter((method) => model.methods.includes(method))])];
}

/** Colour and line of a method: the lowest that is free, kept as long as the method is drawn. */
function slotOf(method) {
  const { slots, methods } = picked;
  for (const other of slots.keys()) if (!methods.has(other)) slots.delete(other);
  if (!slots.has(method)) {
    const taken = new Set(slots.values());
    let slot = 0;
    while (taken.has(slot)) slot += 1;
    slots.set(method, slot);
  }
  return slots.get(method);
}

function curvesContent(model, again) {
  const metrics = METRICS.filter((one) => model.rows.some((row) => !missing(row[one.key])));
  const measured = metrics.find((one) => one.key === picked.metric) || metrics[0];
  if (!measured) return [];
  const allowed = methodsShown(model).map((row) => row.method);
  const methods = allowed.filter((method) => picked.methods.has(method));
  methods.forEach(slotOf);
  const tip = h('div', { class: 'tip', hidden: true });
  const panels = tasksShown(model)
    .filter((task) => model.rows.some((row) => row.task === task && !missing(row[measured.key])))
    .map((task) => panelOf(model, task, methods, measured, tip));
  return [
    h('h2', { id: 'curves-title' }, 'Curves'),
    h('div', { class: 'controls' },
      choice('Measure', metrics.map((one) => [one.key, one.label]), measured.key, (value) => { picked.metric = value; again(); }),
      choice('Against', [['sparsity', 'sparsity (log scale: compression)'], ['speedup', 'speed-up by operations']], picked.axis, (value) => { picked.axis = value; again(); }),
      choice('Bands', [['on', '95 % intervals'], ['off', 'none']], picked.bands, (value) => { picked.bands = value; again(); })),
    h('p', { class: 'hint' }, 'Lines are means over seeds, bands their 95 % intervals, the dashed grey line is the dense network. ',
      measured.key === 'top1' ? 'The accuracy axis is logarithmic in the error. ' : '', 'A click on a point opens its cell.'),
    // Many bands on top of each other hide the lines: the more there are, the fainter.
    h('div', { class: 'panels', vars: { '--band': picked.bands === 'off' ? 0 : Math.min(0.16, 0.45 / Math.max(1, methods.length)) } }, panels.length ? panels : h('p', { class: 'hint' }, 'Nothing was measured here.')),
    tip,
    legendOf(model, allowed, methods, again),
  ];
}

function legendOf(model, allowed, methods, again) {
  const chip = (method) => {
    const on = picked.methods.has(method);
    return h('button', {
      type: 'button', class: on ? `chip series ${slotClass(method)}` : 'chip series', 'aria-pressed': String(on), 'data-key': `series ${method}`,
      onclick: () => { if (on) picked.methods.delete(method); else picked.methods.add(method); again(); },
      onpointerenter: () => on && emphasise(method), onpointerleave: () => emphasise(null),
    }, h('span', { class: 'swatch', 'aria-hidden': 'true' }, on ? markerOf(method) : '○'), method);
  };
  const set = (names) => { picked.methods = new Set(names); again(); };
  return h('div', { class: 'legend' },
    h('p', { class: 'hint' }, `${methods.length} of ${allowed.length} methods drawn `,
      h('button', { type: 'button', class: 'link', onclick: () => set(firstPick(model)) }, 'the first'), ' · ',
      h('button', { type: 'button', class: 'link', onclick: () => set(model.methods) }, 'all'), ' · ',
      h('button', { type: 'button', class: 'link', onclick: () => set([]) }, 'none')),
    h('div', { class: 'chips' }, allowed.map(chip)));
}

const slotClass = (method) => `c${slotOf(method) % SLOTS}${Math.floor(slotOf(method) / SLOTS) % 2 ? ' dashed' : ''}`;
const markerOf = (method) => MARKERS[(slotOf(method) + Math.floor(slotOf(method) / SLOTS)) % MARKERS.length];

function emphasise(method) {
  for (const line of document.querySelectorAll('.line-of')) {
    line.classList.toggle('dim', method !== null && line.dataset.method !== method);
    line.classList.toggle('hot', line.dataset.method === method);
  }
}

function panelOf(model, task, methods, measured, tip) {
  const sparsities = sparsitiesShown(model);
  const lines = methods.map((method) => ({
    method,
    points: sparsities.map((sparsity) => model.byKey.get(keyOf(task, method, sparsity))).filter((row) => row && !missing(row[measured.key])),
  })).filter((line) => line.points.length);
  const points = lines.flatMap((line) => line.points);
  const dense = model.dense.get(task)?.[measured.key];
  if (!points.length) return null;
  const x = xScale(points, sparsities);
  const y = yScale(points, measured, dense, measured.key === 'top1' ? model.chance[task] : null);
  const place = (row) => [x.at(picked.axis === 'speedup' ? row.speedup : row.sparsity), y.at(row[measured.key])];
  const svg = s('svg', { viewBox: `0 0 ${WIDTH} 258`, role: 'img', 'aria-label': `${measured.label} on ${task}; the same numbers stand in the table` },
    frameOf(BOX, x, y, picked.axis === 'speedup' ? 'speed-up' : 'sparsity'),
    !missing(dense) && s('line', { class: 'dense', x1: BOX.left, x2: BOX.right, y1: y.at(dense), y2: y.at(dense) }),
    lines.map((line) => lineOf(line, measured, place, y)));
  const near = (event) => {
    const at = svg.getBoundingClientRect();
    const [px, py] = [((event.clientX - at.left) * WIDTH) / at.width, ((event.clientY - at.top) * WIDTH) / at.width];
    const all = lines.flatMap((line) => line.points).map((row) => [Math.hypot(place(row)[0] - px, place(row)[1] - py), row]);
    const [distance, row] = all.reduce((best, one) => (one[0] < best[0] ? one : best));
    return distance < 40 ? row : null;
  };
  svg.addEventListener('pointermove', (event) => showTip(tip, event, near(event), measured));
  svg.addEventListener('pointerleave', () => showTip(tip, null, null));
  svg.addEventListener('click', (event) => {
    const row = near(event);
    if (row) setState({ open: keyOf(row.task, row.method, row.sparsity) });
  });
  return h('figure', { class: 'panel' }, h('figcaption', {}, task), svg);
}

function xScale(points, sparsities) {
  if (picked.axis === 'speedup') return doublingScale(points.map((row) => row.speedup), BOX.left + 14, BOX.right - 14);
  return compressionScale(sparsities, BOX.left + 14, BOX.right - 14);
}

/** Fits the points and what their bands add, as far as that leaves the points their room. */
function yScale(points, measured, dense, chance) {
  const values = [...points.map((row) => row[measured.key]), ...(missing(dense) ? [] : [dense])];
  const halves = points.map((row) => [row[measured.key], row[`${measured.key}_half`] || 0]);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) / 3 || Math.abs(high) / 20 || 0.01;
  low = Math.max(low - room, Math.min(...halves.map(([value, half]) => value - half)));
  high = Math.min(high + room, Math.max(...halves.map(([value, half]) => value + half)));
  if (measured.key === 'top1') {
    const floor = missing(chance) ? 0 : chance;
    const worst = Math.max(Math.min(floor, Math.min(...values)), 1 - 1.3 * (1 - Math.min(...values)));
    return errorScale(worst, Math.min(0.9995, 1 - (1 - Math.max(...values)) / 1.7), BOX.bottom, BOX.top);
  }
  if (measured.percent) [low, high] = [Math.max(0, low), Math.min(1, high)];
  const show = (value, step) => {
    const [shown, by] = measured.percent ? [100 * value, 100 * step] : [value, step];
    return shown.toFixed(Math.min(4, Math.max(0, -Math.floor(Math.log10(by) + 1e-9) + (Math.abs(by / 10 ** Math.floor(Math.log10(by)) - 2.5) < 1e-6 ? 1 : 0))));
  };
  return linear(Math.max(0, low), high === low ? high + room : high, BOX.bottom, BOX.top, show);
}

function lineOf({ method, points }, measured, place, y) {
  const inside = (value) => Math.min(BOX.bottom, Math.max(BOX.top, value));
  const half = (row) => row[`${measured.key}_half`] || 0;
  const top = measured.percent ? 1 : Infinity;
  const upper = points.map((row) => `${place(row)[0]},${inside(y.at(Math.min(top, row[measured.key] + half(row))))}`);
  const lower = points.map((row) => `${place(row)[0]},${inside(y.at(Math.max(0, row[measured.key] - half(row))))}`);
  return s('g', { class: `line-of ${slotClass(method)}`, 'data-method': method },
    points.length > 1 && s('polygon', { class: 'band', points: [...upper, ...lower.reverse()].join(' ') }),
    points.length === 1 && half(points[0]) > 0 && s('path', { class: 'line', d: `M${upper[0]} L${lower[0]}` }),
    s('polyline', { class: 'line', points: points.map((row) => place(row).join(',')).join(' ') }),
    points.map((row) => s('text', { class: row.collapsed ? 'point collapsed' : 'point', x: place(row)[0], y: place(row)[1] + 4.5, 'text-anchor': 'middle' }, markerOf(method))));
}

function showTip(tip, event, row, measured) {
  tip.hidden = !row;
  emphasise(row ? row.method : null);
  if (!row) return;
  const half = row[`${measured.key}_half`];
  tip.replaceChildren(h('b', {}, row.method), h('br'), `${sparsityLabel(row.sparsity)}: ${measured.show(row[measured.key])}`,
    missing(half) ? '' : ` ± ${measured.show(half)}`, row.collapsed ? ` · ${row.collapsed} collapsed` : '');
  tip.style.left = `${Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 14}px`;
}
