// Linking: whatever bears data-row, data-model, data-class or data-kind lights up everywhere and can be chosen anywhere.

const LINKS = { row: 'sample', model: 'model', class: 'class', kind: 'kind' };

const linkOf = (target) => {
  const element = target.closest?.('[data-row], [data-model], [data-class], [data-kind]');
  const name = element && Object.keys(LINKS).find((one) => one in element.dataset);
  return name ? { name, value: element.dataset[name], element } : null;
};

function linkViews(main) {
  const tip = document.getElementById('tip');
  let hot = null;
  const light = (link) => {
    if (hot?.name === link?.name && hot?.value === link?.value) return;
    for (const one of main.querySelectorAll('.hot')) one.classList.remove('hot');
    if (link) for (const one of main.querySelectorAll(`[data-${link.name}="${CSS.escape(link.value)}"]`)) one.classList.add('hot');
    hot = link;
    const words = link?.name === 'row' ? imageWords(Number(link.value)) : link?.name === 'model' ? modelWords(link.value) : null;
    tip.hidden = !words;
    if (words) tip.replaceChildren(...words.flat(2).filter(Boolean));
  };
  main.addEventListener('pointerover', (event) => light(event.pointerType === 'touch' ? null : linkOf(event.target)));
  main.addEventListener('pointerleave', () => light(null));
  main.addEventListener('focusin', (event) => { light(linkOf(event.target)); tip.hidden = true; });
  main.addEventListener('pointermove', (event) => {
    if (tip.hidden) return;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${event.clientY + tip.offsetHeight + 24 > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 14}px`;
  });
  main.addEventListener('click', (event) => {
    const link = linkOf(event.target);
    if (!link) return;
    if (link.name === 'model') setState({ model: link.value === dense().id ? state.model : link.value });
    else toggle(LINKS[link.name], link.value);
  });
}

function imageWords(place) {
  const set = theSet();
  const line = (model) => `${model === dense() ? 'dense' : 'pruned'}: ${said(model.said[place])}, angle ${degrees(model.angle[place])}, margin ${units(model.margin[place])}`;
  return [picture(place), h('b', {}, `image ${set.rows[place]} · class ${set.label[place]}`), h('br'), line(dense()), h('br'), line(chosen())];
}

function modelWords(id) {
  const model = theSet().models.find((one) => one.id === id);
  return model && [h('b', {}, nameOf(model)), h('br'), `${percent(model.top1)} % clean, ${percent(model.corrupted)} % corrupted, median margin ${short(model.margin_median)}`];
}

/** Classes of a mark of an image: its colour, whether the choice leaves it out, whether it is the chosen one. */
const markClass = (place, model) => [
  'mark', classColour(theSet().label[place]), isIn(place) ? '' : 'dim', isRight(model, place) ? '' : 'wrong', String(place) === state.sample ? 'picked' : '',
].filter(Boolean).join(' ');
