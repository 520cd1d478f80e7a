// What the reader has chosen. What can be sent to others stands in the address; a brushed selection does not.

const state = {
  set: '0', model: '', class: '', kind: '', sample: '', // chosen anywhere, seen everywhere
  table: 'mean', value: 'accuracy', on: 'clean', axes: 'plane', change: 'chosen', alike: 'loss', lines: 'chosen', tab: 'flips',
};
const plain = { ...state };
let brushed = null; // places of images in the set, or null for all
const watchers = [];

const onState = (watcher) => watchers.push(watcher);

function setState(changes) {
  const names = Object.keys(changes).filter((name) => name === 'brush' || state[name] !== changes[name]);
  if ('brush' in changes) brushed = changes.brush?.size ? changes.brush : null;
  for (const name of names) if (name in state) state[name] = changes[name];
  if (!names.length) return;
  writeAddress();
  for (const watcher of watchers) watcher(names);
}

/** Chooses a value, or lets go of it if it is chosen already. */
const toggle = (name, value) => setState({ [name]: state[name] === value ? '' : value });

function writeAddress() {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value !== plain[name]) params.set(name, value);
  const text = params.toString();
  history.replaceState(null, '', text ? `#${text}` : location.pathname + location.search);
}

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) if (name in state) state[name] = value;
}
