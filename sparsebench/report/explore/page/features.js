// Feature space: the images in two dimensions, the dense network beside the chosen one, on the same axes.

function featuresContent() {
  const shared = dense().planes.plane && chosen().planes.plane;
  const axes = shared ? state.axes : 'own';
  const pair = [dense(), chosen()];
  const width = WIDE();
  const at = pair.map((model) => pairsOf(model.planes[axes].points, 0.02));
  const x = extent(at.flatMap((points) => points.map(([px]) => px)));
  const y = extent(at.flatMap((points) => points.map(([, py]) => py)));
  return [
    h('div', { class: 'controls' }, shared
      ? segments('Axes', [['plane', 'the dense network’s directions'], ['own', 'each its own, turned alike']], axes, (value) => setState({ axes: value }))
      : h('p', { class: 'hint' }, 'This network has other features than the dense one: each in its own directions, turned alike.')),
    h('div', { class: 'panels two' }, pair.map((model, side) => {
      const plane = model.planes[axes];
      const drawn = plot({ label: `Features of ${nameOf(model)}`, width, height: 400, x, y, xLabel: 'direction 1', yLabel: 'direction 2' });
      const place = (point) => [drawn.x.at(point[0]), drawn.y.at(point[1])];
      drawn.svg.append(...directions(plane, drawn, x, y), ...marksOf(model, at[side].map(place)));
      brush(drawn, (left, top, right, bottom) => new Set(places().filter((one) => {
        const [px, py] = place(at[side][one]);
        return px >= left && px <= right && py >= top && py <= bottom;
      })));
      return h('figure', { class: 'panel', 'data-side': side ? 'pruned' : 'dense' }, h('figcaption', {}, nameOf(model), h('small', {}, ` ${percent(model.top1)} % clean, ${percent(model.corrupted)} % corrupted · the plane shows ${percent(plane.share[0] + plane.share[1], 0)} % of the variance`)), drawn.svg);
    })),
    h('p', { class: 'hint' }, 'Colour: class. Ring: not recognised. Rays: directions of the classes’ weights.'),
  ];
}

const pairsOf = (flat, step) => Array.from({ length: flat.length / 2 }, (_, at) => [(flat[2 * at] ?? 0) * step, (flat[2 * at + 1] ?? 0) * step]);

/** Rays from the origin of the features' mean, as long as they fit. */
function directions(plane, drawn, [lowX, highX], [lowY, highY]) {
  const reach = 0.45 * Math.min(highX - lowX, highY - lowY);
  const rays = pairsOf(plane.directions, 0.001);
  const longest = Math.max(...rays.map(([a, b]) => Math.hypot(a, b))) || 1;
  if (rays.length > 20) return [];
  return rays.map(([a, b], one) => [
    s('line', { class: `ray ${classColour(one)}`, x1: drawn.x.at(0), y1: drawn.y.at(0), x2: drawn.x.at((a / longest) * reach), y2: drawn.y.at((b / longest) * reach), 'data-class': one }),
    s('text', { class: `ray-label ${classColour(one)}`, x: drawn.x.at((a / longest) * reach * 1.09), y: drawn.y.at((b / longest) * reach * 1.09) + 4, 'text-anchor': 'middle', 'data-class': one }, String(one)),
  ]).flat();
}

/** Circles of all images, those left out first and the chosen one last. */
function marksOf(model, points) {
  const weight = (place) => (String(place) === state.sample ? 2 : isIn(place) ? 1 : 0);
  return places().sort((a, b) => weight(a) - weight(b)).map((place) => s('circle', {
    class: markClass(place, model), cx: points[place][0].toFixed(1), cy: points[place][1].toFixed(1), r: String(place) === state.sample ? 6.5 : 3.4, 'data-row': place,
  }));
}
