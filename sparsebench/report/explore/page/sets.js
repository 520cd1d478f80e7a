// The data: sets of networks that saw the same images, and what one image does in one network.

const data = {}; // filled once, by main.js

const theSet = () => data.sets[state.set] || data.sets[0];
const dense = () => theSet().models[0];
/** The network that is compared with the dense one. */
const chosen = () => theSet().models.find((one) => one.id === state.model) || firstShown(theSet());
/** Before anything is chosen: the first network that keeps about a tenth and has not collapsed. */
function firstShown(set) {
  const far = (model) => Math.abs(model.sparsity - 0.9) + (model.collapsed ? 1 : 0);
  return set.models.slice(1).reduce((best, model) => (far(model) < far(best) - 1e-9 ? model : best));
}
const nameOf = (model) => (model.method === 'dense' ? 'dense' : `${model.method} ${sparsityLabel(model.sparsity)}`);
const setName = (set) => `${set.task} · seed ${set.seed}`;
const kindName = (kind) => data.kinds[kind].replaceAll('_', ' ');
const places = () => theSet().label.map((_, place) => place);
const classesOf = (set) => Array.from({ length: set.classes }, (_, one) => one);

/** Whether an image passes the choice of class and the brush. */
const isIn = (place) => (state.class === '' || theSet().label[place] === Number(state.class)) && (!brushed || brushed.has(place));
const isRight = (model, place) => model.said[place] === theSet().label[place];
const said = (label) => (label < 0 ? 'no number' : `class ${label}`);

/** Corrupted showings of an image that are listed: [place among the showings, ...]. */
function showingsOf(place) {
  const set = theSet();
  if (!set.index) {
    set.index = set.label.map(() => []);
    set.shown.row.forEach((row, at) => set.index[row].push(at));
  }
  return set.index[place];
}

const isLost = (model, at) => model.shown_said[at] !== theSet().label[theSet().shown.row[at]];

/** {lost, shows} of an image: all showings, or those listed of the chosen kind. */
function lostOf(model, place) {
  if (state.kind === '') return { lost: model.lost[place], shows: model.shows[place] };
  const mine = showingsOf(place).filter((at) => theSet().shown.kind[at] === Number(state.kind));
  return { lost: mine.filter((at) => isLost(model, at)).length, shows: mine.length };
}

const degrees = (tenths) => (missing(tenths) ? NONE : `${(tenths / 10).toFixed(1)}°`);
const units = (hundredths) => (missing(hundredths) ? NONE : (hundredths / 100).toFixed(2));
