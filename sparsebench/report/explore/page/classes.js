// Classes: what pruning does to each, by measure and by corruption; and the layers that do it.

const CLASS_COLUMNS = [
  ['recall', 'recognised (%)', (v) => percent(v), (v) => signed(v), 1], ['mca', 'recognised, corrupted (%)', (v) => percent(v), (v) => signed(v), 1],
  ['flips', 'flips (%)', (v) => percent(v), (v) => signed(v), -1], ['angle', 'angle (°)', (v) => fixed(v, 1), (v) => plus(v, 1), -1],
  ['length', 'length', (v) => fixed(v, 2), (v) => plus(v, 2), 1], ['margin', 'median margin', (v) => fixed(v, 2), (v) => plus(v, 2), 1],
];
const plus = (value, digits) => (missing(value) ? NONE : `${value > 0 ? '+' : value < 0 ? '−' : '±'}${Math.abs(value).toFixed(digits)}`);

function classesContent() {
  const change = state.change === 'change';
  const model = state.change === 'dense' ? dense() : chosen();
  const value = (mine, theirs) => (missing(mine) || (change && missing(theirs)) ? null : change ? mine - theirs : mine);
  const shown = classesOf(theSet());
  const rowOf = (one, cells) => ({
    label: `class ${one}`, cells, class: state.class === String(one) ? 'is-chosen' : '', row: { 'data-class': one },
    head: { 'data-class': one, 'data-key': `row ${one}`, 'aria-pressed': String(state.class === String(one)) },
  });
  const measures = CLASS_COLUMNS.map(([key, label, show, showChange, better]) => {
    const [low, high] = extent(shown.map((one) => value(model.by_class[key][one], dense().by_class[key][one])));
    return { label, show: change ? showChange : show, low, high, signed: change, better };
  });
  const kindCells = shown.map((one) => model.class_kinds[one].map((mine, kind) => value(mine, dense().class_kinds[one][kind])));
  const [low, high] = extent(kindCells.flat());
  const kinds = data.kinds.map((_, kind) => ({
    label: kindName(kind), low, high, signed: change, show: change ? (v) => signed(v, 0) : (v) => percent(v, 0), link: { 'data-kind': kind },
    head: { 'data-kind': kind, 'data-key': `class kind ${kind}`, 'aria-pressed': String(state.kind === String(kind)) },
  }));
  return [
    h('div', { class: 'controls' }, segments('Of', [['chosen', 'the pruned network'], ['dense', 'the dense network'], ['change', 'pruned less dense']], state.change, (value_) => setState({ change: value_ }))),
    h('div', { class: 'side' }, h('div', {}, h('h3', {}, 'By measure'),
    heatTable('Classes by measure', 'Class', measures, shown.map((one) => rowOf(one, CLASS_COLUMNS.map(([key]) => value(model.by_class[key][one], dense().by_class[key][one])))))),
    h('div', {}, h('h3', {}, 'By corruption: recognised (%)'),
    heatTable('Classes by corruption', 'Class', kinds, shown.map((one, at) => rowOf(one, kindCells[at])))),
    h('div', {}, h('h3', {}, 'Layers: outputs against the dense network’s'), layerTable())),
  ];
}

function layerTable() {
  const names = Object.keys(chosen().layers);
  const columns = [
    { label: 'length over dense', flat: true, show: (v) => fixed(v, 2), low: 0, high: 1 },
    { label: 'degrees to dense', flat: true, show: (v) => fixed(v, 1), low: 0, high: 90 },
  ];
  return heatTable('Layers', 'Layer', columns, names.map((name) => ({ label: name, cells: [chosen().layers[name].relative, chosen().layers[name].angle] })));
}
