// Colours: of classes and of methods. No colour stands alone: names are in the tips, lists and legends.

const classColour = (label) => `k${label % 10}`;
const methodsOf = (set) => [...new Set(set.models.map((model) => model.method))].filter((name) => name !== 'dense');
const methodColour = (set, method) => (method === 'dense' ? 'is-dense' : `c${methodsOf(set).indexOf(method) % 9}`);

/** Chips of the classes, which choose one. */
const classChips = (set) => h('div', { class: 'chips', role: 'group', 'aria-label': 'Class' }, classesOf(set).map((one) => h('button', {
  type: 'button', class: `chip class-chip ${classColour(one)}`, 'data-class': one, 'data-key': `class ${one}`, 'aria-pressed': String(state.class === String(one)),
}, h('span', { class: 'swatch', 'aria-hidden': 'true' }, '●'), String(one))));
