// The page from top to bottom.

const EVERYWHERE = ['set', 'model', 'class', 'kind', 'sample', 'brush'];
const VIEWS = [
  ['evaluation', 'Evaluation', 'Table', 'Top-1 accuracy of every network, clean and under each corruption. A row chooses a network, a column a corruption.', evaluationContent, ['set', 'model', 'kind', 'value', 'table']],
  ['models', 'Map of networks', 'Networks', 'Near to each other are networks that give the same images like angles, lengths and margins. Lines: the shortest tree that joins all. A dot’s size goes with its density.', modelsContent, ['set', 'model', 'on']],
  ['features', 'Feature space', 'Features', 'What the last layer is given: the same images in the dense and in the pruned network.', featuresContent, ['set', 'model', 'class', 'sample', 'brush', 'axes']],
  ['local', 'Angle and length', 'Angles', 'The loss of an image is told by the angle between its feature and the direction of its class, and by the feature’s length.', localContent, ['set', 'model', 'class', 'sample', 'brush']],
  ['classes', 'Classes and layers', 'Classes', '', classesContent, ['set', 'model', 'class', 'kind', 'change']],
  ['redundancy', 'Redundant corruptions', 'Corruptions', '', redundancyContent, ['set', 'model', 'kind', 'alike', 'change']],
  ['parallel', 'Parallel coordinates', 'Lines', '', parallelContent, ['set', 'model', 'class', 'sample', 'brush', 'lines']],
  ['samples', 'Samples', 'Samples', '', samplesContent, [...EVERYWHERE, 'tab']],
];

async function start() {
  themeButton();
  Object.assign(data, await readPayload());
  readAddress();
  usePictures();
  onState((names) => { if (names.includes('set')) usePictures(); if (names.some((name) => ['class', 'kind', 'set', 'model'].includes(name))) most = AT_ONCE; });
  document.getElementById('loading').remove();
  const main = document.getElementById('main');
  main.append(intro(), choiceBar(), ...VIEWS.map(viewOf), about());
  document.getElementById('sections').append(...VIEWS.map(([id, , name]) => h('a', { href: `#${id}`, onclick: (event) => { event.preventDefault(); document.getElementById(id).scrollIntoView(); } }, name)));
  linkViews(main);
  document.documentElement.dataset.ready = 'yes';
}

function intro() {
  const { board, sets, notes } = data;
  const images = sets.map((set) => `${set.task}: ${set.rows.length === set.images ? 'all' : `${set.rows.length} of`} ${set.images} test images`);
  return h('div', { class: 'intro' },
    h('p', { class: 'facts-line' }, [`${board.name} v${board.version}`, `${data.table.length} arms`, `${sets.length} set${sets.length === 1 ? '' : 's'} shown image by image`, ...new Set(images)].join(' · ')),
    board.notes && h('p', { class: 'notes' }, board.notes), notes.map((note) => h('p', { class: 'notes' }, note)));
}

function viewOf([id, title, , hint, content, names]) {
  const place = h('div', { class: 'view' });
  const draw = () => redraw(place, content());
  onState((changed) => changed.some((name) => names.includes(name)) && draw());
  draw();
  return h('section', { id, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title), hint && h('p', { class: 'hint' }, hint), place);
}

function about() {
  return h('section', { id: 'about', 'aria-labelledby': 'about-title' }, h('h2', { id: 'about-title' }, 'What is what'),
    h('dl', { class: 'lines' }, [
      ['feature', 'what the last linear layer is given'], ['angle', 'between the feature and the weights of a class, in degrees; of the own class where nothing else is said'],
      ['length', 'Euclidean length of the feature'], ['margin', 'distance of the feature to the boundary of its class; below 0 the image is not recognised'],
      ['flip', 'a corrupted showing of an image that is recognised clean and not recognised then'], ['map', 'main directions of the standardised angles, lengths and margins of all images'],
    ].map(([name, meaning]) => h('div', {}, h('dt', {}, name), h('dd', {}, meaning)))),
    h('p', { class: 'hint' }, 'Definitions: docs/explore.md.'));
}

start().catch((error) => {
  const place = document.getElementById('loading') || document.getElementById('main').appendChild(h('p', {}));
  place.className = 'error';
  place.textContent = `This page could not be drawn: ${error.message}`;
  console.error(error);
});
