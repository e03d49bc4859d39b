// A small line over the last points, from zero or from a floor below the lowest, scaled to the highest.

const WIDTH = 240;
const HEIGHT = 56;
const ROOM = 4; // above the highest point, so that the line's own width is not cut

export function drawLine(svg, points, length, floor) {
  let line = svg.firstElementChild;
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    svg.append(line);
  }
  const low = floor === undefined ? 0 : Math.min(floor, ...points);
  const high = Math.max(...points, low + 1e-9);
  // The newest point stands at the right edge, and the line grows in from there.
  const places = points.map((value, index) => {
    const x = WIDTH - ((points.length - 1 - index) / (length - 1)) * WIDTH;
    const y = HEIGHT - ((value - low) / (high - low)) * (HEIGHT - ROOM);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  line.setAttribute("points", places.join(" "));
}
