// Scatter plots: axes, marks, and a brush that chooses the images under a rectangle.

const WIDE = () => Math.min(560, Math.max(300, document.documentElement.clientWidth - 60));

/** {svg, x, y} of a plot of the given extents. */
function plot({ label, width, height, x: [lowX, highX], y: [lowY, highY], xLabel, yLabel, show = (value) => short(value) }) {
  const box = { left: yLabel ? 60 : 46, right: width - 12, top: 10, bottom: height - 42 };
  const padX = (highX - lowX || 1) * 0.04;
  const padY = (highY - lowY || 1) * 0.04;
  const x = linear(lowX - padX, highX + padX, box.left, box.right, show, width < 400 ? 4 : 6);
  const y = linear(lowY - padY, highY + padY, box.bottom, box.top, show, 5);
  const svg = s('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label },
    s('rect', { class: 'ground', x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }),
    frameOf(box, x, y, xLabel),
    yLabel && s('text', { class: 'tick', x: 12, y: (box.top + box.bottom) / 2, transform: `rotate(-90 12 ${(box.top + box.bottom) / 2})`, 'text-anchor': 'middle' }, yLabel));
  return { svg, x, y, box, width };
}

/**
 * Lets a rectangle be drawn on a plot.
 * @param inside(left, top, right, bottom) -> Set of places
 */
function brush({ svg, width }, inside) {
  const rectangle = s('rect', { class: 'brush', hidden: true });
  let from = null;
  const at = (event) => {
    const seen = svg.getBoundingClientRect();
    return [((event.clientX - seen.left) * width) / seen.width, ((event.clientY - seen.top) * width) / seen.width];
  };
  const area = (event) => {
    const to = at(event);
    return [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
  };
  svg.append(rectangle);
  svg.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.pointerType === 'touch') return;
    from = at(event);
    addEventListener('pointermove', moved);
    addEventListener('pointerup', done, { once: true });
  });
  const moved = (event) => {
    const [left, top, right, bottom] = area(event);
    rectangle.removeAttribute('hidden');
    fill(rectangle, { x: left, y: top, width: right - left, height: bottom - top }, []);
  };
  const done = (event) => {
    removeEventListener('pointermove', moved);
    const [left, top, right, bottom] = area(event);
    from = null;
    rectangle.setAttribute('hidden', '');
    if (right - left > 5 || bottom - top > 5) setState({ brush: inside(left, top, right, bottom) });
    else if (brushed && !linkOf(event.target)) setState({ brush: null }); // beside all marks: everything again
  };
}
