// Density of every layer: all methods at one sparsity, or one method at all sparsities.

const heat = { task: null, by: 'methods', method: null, sparsity: null };

function heatSection(model) {
  const place = h('section', { id: 'layers', 'aria-labelledby': 'layers-title' });
  if (!model.records.layers) {
    return fill(place, {}, [h('h2', { id: 'layers-title' }, 'Layers'), h('p', { class: 'hint' }, 'This page is too large to hold the densities of layers; the records have them.')]);
  }
  Object.assign(heat, { task: model.tasks[0], method: model.methods[0], sparsity: model.sparsities.at(-1) });
  const draw = () => redraw(place, heatContent(model, draw));
  onState((names) => names.some((name) => name !== 'open' && name !== 'view') && draw());
  draw();
  return place;
}

function heatContent(model, again) {
  const tasks = tasksShown(model);
  if (!tasks.includes(heat.task)) heat.task = tasks[0] ?? model.tasks[0];
  const set = (name, read = (value) => value) => (value) => { heat[name] = read(value); again(); };
  const allowed = methodsShown(model).map((row) => row.method);
  const one = allowed.includes(heat.method) ? heat.method : allowed[0];
  const entries = heat.by === 'methods'
    ? allowed.map((method) => ({ label: method, method, sparsity: heat.sparsity }))
    : model.sparsities.map((sparsity) => ({ label: sparsityLabel(sparsity), method: one, sparsity }));
  return [
    h('h2', { id: 'layers-title' }, 'Density of layers'),
    h('div', { class: 'controls' },
      choice('Task', model.tasks.map((task) => [task, task]), heat.task, set('task')),
      choice('Show', [['methods', 'methods at one sparsity'], ['sparsities', 'one method at all sparsities']], heat.by, set('by')),
      heat.by === 'methods'
        ? choice('Sparsity', model.sparsities.map((sparsity) => [sparsity, sparsityLabel(sparsity)]), heat.sparsity, set('sparsity', Number))
        : choice('Method', allowed.map((method) => [method, method]), one, set('method'))),
    h('p', { class: 'hint' }, 'Weights kept in each layer, in %, mean over seeds. The layers are in the order of the network, from input to output.'),
    heatTable(model, heat.task, entries.map((entry) => ({ ...entry, layers: meanLayers(model, heat.task, entry) })).filter((entry) => entry.layers)),
  ];
}

/** Density by layer name, mean over the finished seeds; null where there are none. */
function meanLayers(model, task, { method, sparsity }) {
  const sums = new Map();
  for (const at of model.recordsOf(task, method, sparsity)) {
    if (!model.records.ok[at]) continue;
    for (const layer of layersAt(model, at)) {
      const sum = sums.get(layer.name) || { density: 0, n: 0, size: layer.size };
      sum.density += layer.size ? layer.kept / layer.size : 0;
      sum.n += 1;
      sums.set(layer.name, sum);
    }
  }
  if (!sums.size) return null;
  return new Map([...sums].map(([name, { density, n, size }]) => [name, { density: density / n, size }]));
}

function heatTable(model, task, entries) {
  if (!entries.length) return h('p', { class: 'hint' }, 'No densities here: nothing passes the filters, or nothing has finished.');
  const names = [...new Set(entries.flatMap((entry) => [...entry.layers.keys()]))];
  const size = (name) => entries.map((entry) => entry.layers.get(name)?.size).find(Boolean);
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Density of the layers of ${task}` },
    h('table', { class: 'heat' },
      h('caption', { class: 'hidden' }, `Density (%) of each layer of ${task}`),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'text' }, heat.by === 'methods' ? 'Method' : 'Sparsity'),
        names.map((name) => h('th', { scope: 'col', title: `${name}: ${size(name)} weights` }, h('span', { class: 'layer' }, name.replace(/\.weight$/, '')))))),
      h('tbody', {}, entries.map((entry) => h('tr', {},
        h('th', { scope: 'row', class: 'text' }, h('button', { type: 'button', class: 'name', onclick: () => setState({ open: keyOf(task, entry.method, entry.sparsity) }) }, breakable(entry.label))),
        names.map((name) => heatCell(entry.layers.get(name), name)))))));
}

/** The colour goes with the logarithm: 1 %, 10 % and 100 % are equally far apart. */
function heatCell(layer, name) {
  if (!layer) return h('td', {}, NONE);
  const { density } = layer;
  const strength = density > 0 ? Math.min(1, Math.max(0.04, 1 + Math.log10(density) / 2.5)) : 0;
  const text = density === 0 ? '0' : density < 0.0995 ? (100 * density).toFixed(1) : (100 * density).toFixed(0);
  return h('td', {
    class: `density ${density === 0 ? 'empty' : ''}`, vars: { '--strength': `${Math.round(100 * strength)}%` },
    title: `${name}: ${percent(density, 2)} % kept of ${layer.size}`,
  }, text);
}
