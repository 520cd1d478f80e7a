// Redundancy: which corruptions do the same to the same images.

function redundancyContent() {
  const model = state.change === 'dense' ? dense() : chosen();
  const table = model.redundancy[state.alike];
  const [low, high] = extent(table.flat());
  const head = (kind, where) => ({ 'data-kind': kind, 'data-key': `${where} ${kind}`, 'aria-pressed': String(state.kind === String(kind)) });
  const columns = data.kinds.map((_, kind) => ({ label: kindName(kind), low: Math.min(0, low), high: Math.max(high, 0.01), show: (v) => v.toFixed(2), head: head(kind, 'alike'), link: { 'data-kind': kind } }));
  return [
    h('div', { class: 'controls' }, segments('Of', [['loss', 'what they take from the margin'], ['margin', 'margins']], state.alike, (alike) => setState({ alike }))),
    heatTable('Rank correlation of corruptions over images', 'Corruption', columns, data.kinds.map((_, kind) => ({
      label: kindName(kind), cells: table[kind], head: head(kind, 'alike row'), class: state.kind === String(kind) ? 'is-chosen' : '',
    }))),
    h('p', { class: 'hint' }, `Spearman’s coefficient over the images, within a severity, of ${nameOf(model)}. Near 1: one of the two corruptions tells what the other tells. A dash: no image was shown both.`),
  ];
}
