// What the reader has chosen. It is kept in the address, so that a view can be sent to others.

const FACETS = ['task', 'sparsity', 'budget', 'structure'];
const state = {
  view: 'ranking', equal: 'weights', search: '', task: [], sparsity: [], budget: [], structure: [],
  open: '', // a cell: [task, method, sparsity] as JSON
};
const watchers = [];

const onState = (watcher) => watchers.push(watcher);

function setState(changes) {
  Object.assign(state, changes);
  writeAddress();
  for (const watcher of watchers) watcher(Object.keys(changes));
}

function writeAddress() {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (Array.isArray(value)) value.forEach((one) => params.append(name, one));
    else if (value && !(name === 'view' && value === 'ranking') && !(name === 'equal' && value === 'weights')) params.set(name, value);
  }
  const text = params.toString();
  history.replaceState(null, '', text ? `#${text}` : location.pathname + location.search);
}

function readAddress() {
  const params = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(state)) {
    if (!params.has(name)) continue;
    state[name] = Array.isArray(state[name]) ? params.getAll(name) : params.get(name);
  }
}

/** Whether a facet lets a value through; no choice is every choice. */
const lets = (facet, value) => state[facet].length === 0 || state[facet].includes(String(value));

const searched = (method) => method.toLowerCase().includes(state.search.trim().toLowerCase());

/** Methods that pass the filters, in the order of the ranking. */
function methodsShown(model) {
  return model.summary.filter((row) => searched(row.method) && lets('budget', row.budget) && lets('structure', row.structure));
}

const tasksShown = (model) => model.tasks.filter((task) => lets('task', task));
const sparsitiesShown = (model) => model.sparsities.filter((sparsity) => lets('sparsity', sparsity));
