// The page from top to bottom.

const VIEWS = { ranking: ['Ranking', rankingTable], accuracy: ['Accuracy', accuracyTable], numbers: ['Every number', numbersTable] };
const SECTIONS = { board: 'Board', curves: 'Curves', pareto: 'Cost', layers: 'Layers', about: 'About' };

async function start() {
  themeButton();
  const model = modelOf(await readPayload());
  readAddress();
  if (!(state.view in VIEWS)) state.view = 'ranking';
  document.getElementById('loading').remove();
  document.getElementById('main').append(...[
    facts(model), verdictOf(model), filterBar(model), boardSection(model), curvesSection(model), paretoSection(model), heatSection(model), aboutSection(model),
  ].filter(Boolean));
  document.getElementById('sections').append(...Object.entries(SECTIONS).filter(([id]) => document.getElementById(id)).map(([id, name]) => h('a', {
    href: `#${id}`, onclick: (event) => { event.preventDefault(); document.getElementById(id).scrollIntoView(); },
  }, name)));
  panelOpens(model);
  document.documentElement.dataset.ready = 'yes';
}

function facts(model) {
  const { board, records } = model;
  const items = [`${board.name} v${board.version}`, `${model.methods.length} methods`, `${model.tasks.length} task${model.tasks.length === 1 ? '' : 's'}`,
    `${model.sparsities.length} sparsit${model.sparsities.length === 1 ? 'y' : 'ies'}`, `${board.seeds.length} seed${board.seeds.length === 1 ? '' : 's'}`, `${records.id.length} records`];
  return h('div', { class: 'intro' }, h('p', { class: 'facts-line' }, items.join(' · ')), board.notes && h('p', { class: 'notes' }, board.notes));
}

function verdictOf(model) {
  const [first = '', ...rest] = [...model.sentences, ...model.notes];
  return h('section', { class: 'verdict', 'aria-label': 'Verdict' }, h('p', {}, prose(first)), h('ul', {}, rest.map((sentence) => h('li', {}, prose(sentence)))));
}

function boardSection(model) {
  const place = h('section', { id: 'board', 'aria-label': 'Leaderboard' });
  const draw = () => {
    const [, table] = VIEWS[state.view];
    redraw(place,
      h('div', { class: 'controls bar' },
        segments('View', Object.entries(VIEWS).map(([key, [name]]) => [key, name]), state.view, (view) => setState({ view })),
        model.summary.some((row) => !missing(row.flops_rank)) && state.view !== 'numbers' &&
          choice('Rank at equal', [['weights', 'sparsity'], ['flops', 'operations (FLOPs)']], state.equal, (equal) => setState({ equal }))),
      h('p', { class: 'hint' }, hintOf(model)),
      table(model),
      legendOfMarks(model));
  };
  onState((names) => names.some((name) => name !== 'open') && draw());
  draw();
  return place;
}

function hintOf(model) {
  if (state.view === 'numbers') return 'Percent where nothing else is said. A click on an accuracy opens its records, audit and commands.';
  const scope = state.equal === 'flops' ? 'every task and level of equal speed-up' : 'every task, sparsity and seed of the board';
  const within = state.equal !== 'flops' && state.budget.length === 1 ? ` among the methods of budget class ${state.budget[0]}` : '';
  const more = state.task.length || state.sparsity.length ? ' Filters for task and sparsity do not change it.' : '';
  return `Average rank over ${scope}${within} (1 = best).${more} ${state.view === 'accuracy' ? 'Top-1 in %, ± 95 % interval over seeds; a click opens the records.' : 'A click on a method opens its cells.'}`;
}

function legendOfMarks(model) {
  const rows = model.rows;
  const marks = [
    [h('b', { class: 'best' }, '97.0'), 'the best mean'],
    ['≈', 'a tie: not told from the best, the paired 95 % interval includes 0'],
    ['±', 'half width of the 95 % Student interval over seeds'],
    rows.some((row) => row.collapsed) && ['↓', 'some seeds collapsed (chance accuracy, an emptied layer, numbers not finite); they count in the mean'],
    rows.some((row) => row.state === 'incomplete' || row.state === 'failed') && ['(n)', 'only n seeds finished: not ranked'],
    rows.some((row) => row.state === 'audit') && ['†', 'failed its audit: not ranked'],
    model.summary.some((row) => row.mark === 'few') && ['(3)', 'a place that no test can confirm with so few runs'],
  ].filter(Boolean);
  return h('dl', { class: 'marks' }, marks.map(([sign, meaning]) => h('div', {}, h('dt', {}, sign), h('dd', {}, meaning))));
}

function aboutSection(model) {
  const { board, records } = model;
  const count = (name) => [...new Set(records.provenances.map((one) => one[name]).filter((value) => !missing(value)))].map((value) => factText(value)).join('; ');
  const created = records.created.filter(Boolean).sort();
  return h('section', { id: 'about', 'aria-labelledby': 'about-title' }, h('h2', { id: 'about-title' }, 'About these numbers'),
    h('p', {}, 'Everything here is rendered from records, one file a cell (task, method, sparsity, seed). Each carries its settings, the versions and hardware it was made with, and an audit. A click on an accuracy shows them, with the command that computes the cell again.'),
    factTable({ board: `${board.name} v${board.version}`, protocol: count('protocol'), 'made by': board.command, hardware: count('hardware'), accelerator: count('accelerator'), precision: count('precision'),
      commits: [...new Set(records.provenances.map((one) => (one.commit || '').slice(0, 7) + (one.dirty ? ' (modified tree)' : '')))].filter(Boolean).join(', '),
      computed: created.length ? `${created[0].slice(0, 10)} to ${created.at(-1).slice(0, 10)}` : null,
      'budget classes': model.budgets.map((one) => (missing(one.epochs) ? one.name : `${one.name} (at most ${one.epochs} × the epochs${missing(one.flops) ? '' : `, ${one.flops} × the FLOPs`} of the dense network)`)).join(', ') }),
    h('h3', {}, 'Make this page'), commandLine(`sparsebench report ${quoted((board.command || '').replace(/^sparsebench run /, '') || board.name)} --format html`));
}

start().catch((error) => {
  const place = document.getElementById('loading') || document.getElementById('main').appendChild(h('p', {}));
  place.className = 'error';
  place.textContent = `This page could not be drawn: ${error.message}`;
  console.error(error);
});
