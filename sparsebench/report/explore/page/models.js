// The map of networks: near are those that see the same images alike; the tree joins each to its nearest.

function modelsContent() {
  const set = theSet();
  const { places: points, edges, share } = set.maps[state.on];
  const [xs, ys] = [0, 1].map((at) => points.map((point) => point[at]));
  const axis = (at) => (share ? `direction ${at + 1} (${percent(share[at])} % of the variance)` : `UMAP ${at + 1}`);
  const width = Math.min(820, Math.max(310, document.documentElement.clientWidth - 60));
  const { svg, x, y } = plot({ label: 'Networks by their geometry', width, height: 400, x: extent(xs), y: extent(ys), xLabel: axis(0), yLabel: axis(1) });
  const at = (place) => ({ cx: x.at(xs[place]), cy: y.at(ys[place]) });
  svg.append(...edges.map(([a, b]) => s('line', { class: 'edge', x1: at(a).cx, y1: at(a).cy, x2: at(b).cx, y2: at(b).cy })));
  const order = set.models.map((model, place) => ({ model, place })).sort((a, b) => (a.model === chosen()) - (b.model === chosen()));
  for (const { model, place } of order) {
    const look = `node ${methodColour(set, model.method)} ${model === chosen() ? 'picked' : ''}`;
    const size = model.method === 'dense' ? 9 : 4 + 6 * Math.sqrt(1 - model.sparsity);
    svg.append(s('circle', { class: look, ...at(place), r: size, 'data-model': model.id }));
    const left = at(place).cx > width - 60;
    svg.append(s('text', { class: 'node-label', x: at(place).cx + (left ? -size - 2 : size + 2), y: at(place).cy + 4, 'text-anchor': left ? 'end' : 'start' }, model.method === 'dense' ? 'dense' : sparsityLabel(model.sparsity).replace(' ', '')));
  }
  return [
    h('div', { class: 'controls' }, segments('Of images', [['clean', 'clean images'], ['shown', 'corrupted images']], state.on, (on) => setState({ on }))),
    h('figure', { class: 'panel' }, svg),
    h('ul', { class: 'legend' }, methodsOf(set).map((method) => h('li', { class: methodColour(set, method) }, h('span', { class: 'swatch', 'aria-hidden': 'true' }, '●'), method))),
  ];
}
