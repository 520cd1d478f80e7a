// The filters above everything: a search, and chips for task, sparsity, budget class and structure.

function filterBar(model) {
  const place = h('details', { class: 'filters', id: 'filters', open: innerWidth > 700 });
  const of = {
    task: model.tasks.map((task) => [task, task]),
    sparsity: model.sparsities.map((sparsity) => [String(sparsity), sparsityLabel(sparsity)]),
    budget: distinct(model.summary, 'budget', model.budgets.map((one) => one.name)).map((name) => [name, name]),
    structure: distinct(model.summary, 'structure', ['weights', 'N:M', 'blocks', 'units', 'smaller network']).map((name) => [name, name]),
  };
  const search = h('input', {
    type: 'search', id: 'search', placeholder: 'magnitude, @imp, …', autocomplete: 'off', spellcheck: 'false', value: state.search,
    oninput: () => setState({ search: search.value }),
  });
  const draw = () => {
    const count = FACETS.reduce((sum, facet) => sum + state[facet].length, 0) + (state.search ? 1 : 0);
    redraw(chips, FACETS.filter((facet) => of[facet].length > 1).map((facet) => facetOf(facet, of[facet])));
    redraw(title, 'Filters', count > 0 && h('span', { class: 'count' }, String(count)));
    clear.hidden = count === 0;
    if (search.value !== state.search) search.value = state.search;
  };
  const title = h('summary', {});
  const chips = h('div', { class: 'chosen' });
  const clear = h('button', {
    type: 'button', class: 'clear', onclick: () => setState({ search: '', ...Object.fromEntries(FACETS.map((facet) => [facet, []])) }),
  }, 'Clear filters');
  place.append(title, h('div', { class: 'facets' }, h('label', { class: 'facet' }, h('span', { class: 'label' }, 'Method'), search), chips, clear));
  onState(draw);
  draw();
  return place;
}

const NAMES = { task: 'Task', sparsity: 'Sparsity', budget: 'Budget class', structure: 'Structure' };

function facetOf(facet, options) {
  return h('fieldset', { class: 'facet', 'data-facet': facet }, h('legend', { class: 'label' }, NAMES[facet]),
    options.map(([value, label]) => h('button', {
      type: 'button', class: 'chip', 'aria-pressed': String(state[facet].includes(value)), 'data-key': `${facet} ${value}`,
      onclick: () => setState({
        [facet]: state[facet].includes(value) ? state[facet].filter((one) => one !== value) : [...state[facet], value],
      }),
    }, label)));
}

/** Distinct values of a column: those of a known order first. */
function distinct(rows, name, known) {
  const found = [...new Set(rows.map((row) => row[name]).filter((value) => !missing(value)))];
  return [...known.filter((value) => found.includes(value)), ...found.filter((value) => !known.includes(value))];
}
