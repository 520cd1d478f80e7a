// Angle and length: how right and how sure, image by image, and the mean of each class on its way from dense to pruned.

function localContent() {
  const pair = [dense(), chosen()];
  const seen = (model) => places().map((place) => [model.length[place] / 100, model.angle[place] / 10]);
  const points = pair.map(seen);
  const width = Math.min(820, Math.max(310, document.documentElement.clientWidth - 60));
  const drawn = plot({
    label: 'Angle against length', width, height: 430, x: extent(points.flat().map(([px]) => px)), y: extent(points.flat().map(([, py]) => py)),
    xLabel: 'length of the feature', yLabel: 'degrees to the own class',
  });
  const place = ([px, py]) => [drawn.x.at(px), drawn.y.at(py)];
  const dots = pair.flatMap((model, side) => marksOf(model, points[side].map(place)).map((mark) => (mark.classList.add(side ? 'solid' : 'hollow'), mark)));
  const means = classesOf(theSet()).filter((one) => state.class === '' || state.class === String(one)).map((one) => {
    const [from, to] = pair.map((model) => place([model.by_class.length[one], model.by_class.angle[one]]));
    if ([...from, ...to].some((value) => !Number.isFinite(value))) return null;
    return s('g', { class: `arrow ${classColour(one)}`, 'data-class': one },
      s('line', { x1: from[0], y1: from[1], x2: to[0], y2: to[1] }), s('circle', { cx: to[0], cy: to[1], r: 8 }),
      s('text', { x: to[0], y: to[1] + 4, 'text-anchor': 'middle' }, String(one)));
  }).filter(Boolean);
  drawn.svg.append(...dots, ...(theSet().classes <= 20 || state.class !== '' ? means : []));
  brush(drawn, (left, top, right, bottom) => new Set(places().filter((one) => points.some((side) => {
    const [px, py] = place(side[one]);
    return px >= left && px <= right && py >= top && py <= bottom;
  }))));
  return [
    h('figure', { class: 'panel' }, h('figcaption', {}, `dense (hollow) to ${nameOf(chosen())} (filled)`), drawn.svg),
    h('p', { class: 'hint' }, 'A numbered disc is the mean of a class in the pruned network, its line leads there from the dense network. Low is right, far to the right is sure.'),
  ];
}
