// Samples: images that flip, that pruning lost or won, the most fragile and the most robust; and one image in every network.

const AT_ONCE = matchMedia('(max-width: 700px)').matches ? 8 : 24;
const LISTS = {
  flips: ['Flip under corruption', 'Recognised clean, not when corrupted; most often first.', (place) => isRight(chosen(), place) && lostOf(chosen(), place).lost > 0, (place) => { const { lost, shows } = lostOf(chosen(), place); return -lost / shows; }],
  lost: ['Lost by pruning', 'Recognised by the dense network and not by the pruned one, both clean.', (place) => isRight(dense(), place) && !isRight(chosen(), place), (place) => chosen().margin[place]],
  won: ['Won by pruning', 'Recognised by the pruned network and not by the dense one, both clean.', (place) => !isRight(dense(), place) && isRight(chosen(), place), (place) => -chosen().margin[place]],
  fragile: ['Fragile', 'Recognised with the smallest margins.', (place) => isRight(chosen(), place), (place) => chosen().margin[place]],
  robust: ['Robust', 'Lost under the fewest corruptions, then by the largest margin.', (place) => isRight(chosen(), place) && lostOf(chosen(), place).shows > 0, (place) => { const { lost, shows } = lostOf(chosen(), place); return (1e7 * lost) / shows - chosen().margin[place]; }],
};
let most = AT_ONCE;

function samplesContent() {
  const counts = Object.fromEntries(Object.entries(LISTS).map(([name, [, , test]]) => [name, places().filter((place) => isIn(place) && test(place))]));
  const [, hint, , order] = LISTS[state.tab] || LISTS.flips;
  const found = (counts[state.tab] || counts.flips).sort((a, b) => order(a) - order(b));
  const left = found.length - most;
  return [
    state.sample !== '' && oneImage(Number(state.sample)),
    h('div', { class: 'controls' }, segments('Images', Object.entries(LISTS).map(([name, [title]]) => [name, `${title} (${counts[name].length})`]), state.tab, (tab) => { most = AT_ONCE; setState({ tab }); })),
    h('p', { class: 'hint' }, hint, state.kind !== '' && ` Corruption: ${kindName(Number(state.kind))}${theSet().listed === 'middle' ? ', severity 3' : ''}.`),
    found.length ? h('ul', { class: 'cards' }, found.slice(0, most).map(card)) : h('p', { class: 'hint' }, 'None passes what is chosen.'),
    left > 0 && h('button', { type: 'button', class: 'chip', 'data-key': 'more', onclick: () => { most += AT_ONCE; setState({ brush: brushed, more: most }); } }, `Show ${Math.min(left, AT_ONCE)} more of ${left}`),
  ];
}

function card(place) {
  const set = theSet();
  const { lost, shows } = lostOf(chosen(), place);
  const flips = showingsOf(place).filter((at) => isLost(chosen(), at) && (state.kind === '' || set.shown.kind[at] === Number(state.kind)) && shownPicture(at)).slice(0, 5);
  return h('li', { class: `card ${String(place) === state.sample ? 'picked' : ''}` }, h('button', { type: 'button', 'data-row': place, 'data-key': `card ${place}`, 'aria-pressed': String(String(place) === state.sample) },
    picture(place),
    h('span', { class: 'card-text' },
      h('b', { class: classColour(set.label[place]) }, `class ${set.label[place]}`), ` image ${set.rows[place]}`, h('br'),
      `dense ${said(dense().said[place])}, pruned ${said(chosen().said[place])}`, h('br'),
      `margin ${units(chosen().margin[place])} · lost ${lost} of ${shows}`),
    flips.length > 0 && h('span', { class: 'strip' }, flips.map((at) => h('span', { class: 'shown' }, shownPicture(at), h('small', {}, `${kindName(set.shown.kind[at])} ${set.shown.severity[at]} → ${chosen().shown_said[at]}`))))));
}

/** The chosen image in every network, and its corrupted showings. */
function oneImage(place) {
  const set = theSet();
  const shown = showingsOf(place).filter((at) => state.kind === '' || set.shown.kind[at] === Number(state.kind));
  return h('div', { class: 'one-image', id: 'image' },
    h('h3', {}, `Image ${set.rows[place]}, class ${set.label[place]}`),
    h('div', { class: 'one-parts' }, h('div', { class: 'large' }, picture(place)),
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'The image in every network' }, h('table', {},
        h('caption', { class: 'hidden' }, 'The image in every network'),
        h('thead', {}, h('tr', {}, ['Network', 'says', 'angle', 'length', 'margin', 'lost'].map((name, at) => h('th', { scope: 'col', class: at ? null : 'text' }, name)))),
        h('tbody', {}, set.models.map((model) => h('tr', { 'data-model': model.id, class: model === chosen() ? 'is-chosen' : null },
          h('th', { scope: 'row', class: 'text' }, h('button', { type: 'button', class: 'name', 'data-model': model.id, 'data-key': `image ${model.id}` }, breakable(nameOf(model)))),
          h('td', { class: isRight(model, place) ? null : 'bad' }, model.said[place] < 0 ? NONE : String(model.said[place])), h('td', {}, degrees(model.angle[place])), h('td', {}, units(model.length[place])),
          h('td', {}, units(model.margin[place])), h('td', {}, `${lostOf(model, place).lost}/${lostOf(model, place).shows}`))))))),
    h('ul', { class: 'strip' }, shown.map((at) => h('li', { class: `shown ${isLost(chosen(), at) ? 'flipped' : ''}`, 'data-kind': set.shown.kind[at] }, shownPicture(at),
      h('small', {}, `${kindName(set.shown.kind[at])} ${set.shown.severity[at]}: dense ${dense().shown_said[at]}, pruned ${chosen().shown_said[at]}`)))));
}
