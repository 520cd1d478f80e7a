// The bar of choices, which stays in sight: set, network, class, corruption, and what else is chosen.

function choiceBar() {
  const place = h('section', { class: 'bar-of-choices', id: 'choices', 'aria-label': 'What is shown' });
  const draw = () => redraw(place, barContent());
  onState((names) => names.some((name) => ['set', 'model', 'class', 'kind', 'sample', 'brush'].includes(name)) && draw());
  draw();
  return place;
}

function barContent() {
  const set = theSet();
  const options = set.models.slice(1).map((model) => [model.id, `${nameOf(model)}${model.collapsed ? ' ↓' : ''}`]);
  const kinds = [['', 'every corruption'], ...data.kinds.map((_, kind) => [String(kind), kindName(kind)])];
  return [
    h('div', { class: 'controls' },
      data.sets.length > 1 && choice('Networks of', data.sets.map((one, at) => [String(at), setName(one)]), state.set, (value) => setState({ set: value, model: '', class: '', sample: '', brush: null })),
      choice('Dense beside', options, chosen().id, (value) => setState({ model: value })),
      choice('Corruption', kinds, state.kind, (value) => setState({ kind: value })),
      h('div', { class: 'chosen-line' }, chosenWords())),
    set.classes <= 20
      ? classChips(set)
      : choice('Class', [['', 'every class'], ...classesOf(set).map((one) => [String(one), `class ${one}`])], state.class, (value) => setState({ class: value })),
  ];
}

/** What else is chosen, each with a button that lets go of it. */
function chosenWords() {
  const let_go = (name, value, words) => h('button', { type: 'button', class: 'chip', 'data-key': `drop ${name}`, onclick: () => setState({ [name]: value }) }, words, ' ✕');
  const found = [
    state.sample !== '' && let_go('sample', '', `image ${theSet().rows[state.sample]}`),
    brushed && let_go('brush', null, `${brushed.size} image${brushed.size === 1 ? '' : 's'} brushed`),
  ].filter(Boolean);
  return found.length ? found : h('span', { class: 'hint' }, 'A click chooses a network, a class, a corruption or an image; a drag brushes images.');
}
