// Parallel coordinates: a line an image over the angles to all classes, the own angle, the length and the margin.

function parallelContent() {
  const set = theSet();
  const model = state.lines === 'dense' ? dense() : chosen();
  const k = set.classes;
  const own = [
    { label: 'own angle', value: (place) => model.angle[place] / 10, unit: '°' },
    { label: 'length', value: (place) => model.length[place] / 100, unit: '' },
    { label: 'margin', value: (place) => model.margin[place] / 100, unit: '' },
  ];
  const toClass = model.angles ? classesOf(set).map((one) => ({ label: `∠ ${one}`, class: one, value: (place) => model.angles[place * k + one] / 10, unit: '°' })) : [];
  const axes = [...toClass, ...own];
  const each = model.angles ? extent(toClass.flatMap((axis) => places().map(axis.value))) : null;
  const width = Math.max(axes.length * 62, Math.min(1180, document.documentElement.clientWidth - 60));
  const box = { top: 26, bottom: 330, left: 30, right: width - 30 };
  axes.forEach((axis, at) => {
    axis.x = axes.length > 1 ? box.left + (at / (axes.length - 1)) * (box.right - box.left) : width / 2;
    [axis.low, axis.high] = 'class' in axis ? each : extent(places().map(axis.value));
    axis.y = (value) => box.bottom - ((value - axis.low) / (axis.high - axis.low || 1)) * (box.bottom - box.top);
  });
  const svg = s('svg', { viewBox: `0 0 ${width} 360`, role: 'img', 'aria-label': 'Parallel coordinates of the images', vars: { 'min-width': `${axes.length * 44}px` } },
    s('rect', { class: 'ground', x: 0, y: 0, width, height: 360 }));
  const weight = (place) => (String(place) === state.sample ? 2 : isIn(place) ? 1 : 0);
  const line = (place) => axes.map((axis) => `${axis.x.toFixed(1)},${axis.y(axis.value(place)).toFixed(1)}`).join(' ');
  svg.append(...places().filter((place) => axes.every((axis) => Number.isFinite(axis.value(place)))).sort((a, b) => weight(a) - weight(b))
    .map((place) => s('polyline', { class: `thread ${markClass(place, model)}`, points: line(place), 'data-row': place })));
  svg.append(...axes.map((axis) => s('g', { class: 'axis' },
    s('line', { x1: axis.x, x2: axis.x, y1: box.top, y2: box.bottom }),
    s('text', { class: `tick ${'class' in axis ? `ray-label ${classColour(axis.class)}` : ''}`, x: axis.x, y: 14, 'text-anchor': 'middle', ...('class' in axis ? { 'data-class': axis.class } : {}) }, axis.label),
    s('text', { class: 'tick', x: axis.x, y: box.bottom + 14, 'text-anchor': 'middle' }, short(axis.low, axis.unit)),
    s('text', { class: 'tick', x: axis.x + 3, y: box.top + 9 }, short(axis.high, axis.unit)))));
  brush({ svg, width }, (left, top, right, bottom) => new Set(places().filter((place) => axes.some((axis) => {
    const py = axis.y(axis.value(place));
    return axis.x >= left && axis.x <= right && py >= top && py <= bottom;
  }))));
  return [
    h('div', { class: 'controls' }, segments('Of', [['chosen', 'the pruned network'], ['dense', 'the dense network']], state.lines, (lines) => setState({ lines }))),
    h('figure', { class: 'panel wide' }, h('div', { class: 'slide', tabindex: '0', role: 'region', 'aria-label': 'Parallel coordinates' }, svg)),
    h('p', { class: 'hint' }, model.angles ? 'Angles to the classes share one scale. A drag over an axis brushes the images that pass there.' : 'With so many classes only the own angle is shown. A drag over an axis brushes the images that pass there.'),
  ];
}
