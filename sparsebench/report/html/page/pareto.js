// Pareto fronts: accuracy lost against what is paid, averaged over the tasks.

const PARETO = {
  front_speedup: { label: 'operations of the network (speed-up)', value: (row) => row.speedup, axis: 'speed-up: dense over sparse operations' },
  front_sparsity: { label: 'weights kept (sparsity)', value: (row) => row.sparsity, axis: 'sparsity' },
  front_cost: { label: 'operations of all training', value: (row) => row.cost, axis: 'training operations over those of the dense network' },
};
const LOST = [-0.1, -0.05, -0.02, -0.01, -0.005, 0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
let paretoBy = 'front_speedup';

function paretoSection(model) {
  if (!model.points.length) return null;
  const place = h('section', { id: 'pareto', 'aria-labelledby': 'pareto-title' });
  const draw = () => redraw(place, paretoContent(model, draw));
  onState((names) => names.some((name) => name !== 'open' && name !== 'view') && draw());
  draw();
  return place;
}

function paretoContent(model, again) {
  const by = PARETO[paretoBy];
  const methods = new Set(methodsShown(model).map((row) => row.method));
  const points = model.points.filter((row) => methods.has(row.method) && lets('sparsity', row.sparsity) && !missing(row.drop) && !missing(by.value(row)));
  const front = points.filter((row) => row[paretoBy]).sort((a, b) => by.value(a) - by.value(b));
  const tip = h('div', { class: 'tip', hidden: true });
  return [
    h('h2', { id: 'pareto-title' }, 'Accuracy against cost'),
    h('div', { class: 'controls' }, choice('Cost', Object.entries(PARETO).map(([key, one]) => [key, one.label]), paretoBy, (value) => { paretoBy = value; again(); })),
    h('p', { class: 'hint' }, 'A dot is a method at one sparsity, averaged over the tasks. Filled and joined: the Pareto front of the whole board, no other is better in both.'),
    h('div', { class: 'panels one' }, points.length ? h('figure', { class: 'panel' }, paretoPlot(by, points, front, tip)) : h('p', { class: 'hint' }, 'Nothing passes these filters.')),
    tip,
    front.length > 0 && h('p', { class: 'front' }, 'On the front: ', front.map((row, at) => [
      at ? ' · ' : '', h('button', { type: 'button', class: 'link', onclick: () => openMethod(model, row.method) }, row.method), ` ${sparsityLabel(row.sparsity)} (${signed(-row.drop)})`])),
  ];
}

function paretoPlot(by, points, front, tip) {
  const width = Math.min(760, Math.max(330, document.documentElement.clientWidth - 50));
  const box = { left: 44, right: width - 12, top: 12, bottom: 312 };
  const values = points.map(by.value);
  const x = paretoBy === 'front_sparsity'
    ? compressionScale([...new Set(values)].sort((a, b) => a - b), box.left + 24, box.right - 24)
    : doublingScale(values, box.left + 24, box.right - 24);
  const y = lostScale(points.map((row) => row.drop), box.bottom - 8, box.top + 8);
  const place = (row) => [x.at(by.value(row)), y.at(row.drop)];
  const svg = s('svg', { viewBox: `0 0 ${width} 352`, role: 'img', 'aria-label': 'Accuracy lost against cost; the front is listed below' },
    frameOf(box, x, y, by.axis),
    s('polyline', { class: 'front-line', points: front.map((row) => place(row).join(',')).join(' ') }),
    points.map((row) => s('circle', { class: row[paretoBy] ? 'dot on' : 'dot', cx: place(row)[0], cy: place(row)[1], r: row[paretoBy] ? 5.5 : 4 })));
  svg.addEventListener('pointermove', (event) => {
    const at = svg.getBoundingClientRect();
    const [px, py] = [((event.clientX - at.left) * width) / at.width, ((event.clientY - at.top) * width) / at.width];
    const far = (row) => Math.hypot(place(row)[0] - px, place(row)[1] - py);
    const row = points.reduce((best, one) => (far(one) < far(best) ? one : best));
    tip.hidden = far(row) > 30;
    if (tip.hidden) return;
    tip.replaceChildren(h('b', {}, row.method), h('br'), `${sparsityLabel(row.sparsity)}, ${signed(-row.drop)} points, ${times(row.speedup)} fewer operations`);
    tip.style.left = `${Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  svg.addEventListener('pointerleave', () => { tip.hidden = true; });
  return svg;
}

/** Points of accuracy, linear around no loss and logarithmic far from it; better is higher. */
function lostScale(drops, from, to) {
  const place = (drop) => Math.asinh(drop / 0.005);
  const [low, high] = [place(Math.max(...drops, 0.005)), place(Math.min(...drops, 0))];
  const at = (drop) => from + ((place(drop) - low) / (high - low)) * (to - from);
  const ticks = [];
  for (const drop of LOST.filter((one) => place(one) <= low && place(one) >= high)) {
    if (!ticks.length || Math.abs(at(drop) - at(ticks.at(-1)[0])) > 22) ticks.push([drop, drop ? signed(-drop, Math.abs(drop) < 0.01 ? 1 : 0) : '0']);
  }
  return { at, ticks };
}
