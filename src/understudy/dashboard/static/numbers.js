// Draws the plots of /numbers from what the page brings; the tables below them say the same without this file.
"use strict";
(() => {
  const HEIGHT_PX = 200;
  const language = document.documentElement.lang;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(language, { month: "short", day: "numeric" });
  const both = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const DAY_S = 86400;
  const made = new Map();

  const instants = (plot, splits) => {
    const isDay = plot.scales.x.max - plot.scales.x.min <= 2 * DAY_S;
    return splits.map((at) => (isDay ? clock : day).format(new Date(at * 1000)));
  };
  const axis = (more) => ({
    stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 },
    font: "12px system-ui, sans-serif", ...more,
  });
  const lastOf = (values) => { let at = values.length - 1; while (at > 0 && values[at] == null) at--; return values[at]; };
  const shown = (plot, value, line, at) => (at == null ? lastOf(plot.data[line]) : value); // nobody points: the latest
  const wide = (text) => [...text].reduce((sum, char) => sum + (char > "\u00ff" ? 12.5 : 7), 0);
  const room = (_, texts) => 20 + Math.max(8, ...(texts ?? []).map(wide)); // for the longest label of an axis
  // A value between two gaps is a point: a line would need another one beside it.
  const alone = (plot, line) => [...plot.data[line].keys()].filter((at) =>
    plot.data[line][at] != null && plot.data[line][at - 1] == null && plot.data[line][at + 1] == null);
  const options = ({ series, unit, bars, time }, width) => ({
    width, height: HEIGHT_PX, padding: [8, 24, 0, 0],
    cursor: { sync: { key: "numbers" }, y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
    axes: [axis({ values: instants, space: 64 }), axis({ values: (_, splits) => splits.map((v) => unit.replace("{value}", number.format(v))), size: room })],
    series: [
      { label: time, value: (plot, at, line, place) => both.format(new Date(shown(plot, at, line, place) * 1000)) },
      ...series.map(({ label, line }) => ({
        label, stroke: colour(line), fill: bars ? colour(line) : undefined, width: bars ? 0 : 2, points: { show: false, ...(bars ? {} : { filter: alone }), size: 6, fill: colour(line) }, spanGaps: false,
        paths: bars ? uPlot.paths.bars({ size: [0.8, 24] }) : undefined,
        value: (plot, value, line, place) => {
          const one = shown(plot, value, line, place);
          return one == null ? "–" : unit.replace("{value}", number.format(one));
        },
      })),
    ],
  });

  const draw = (place) => {
    const given = JSON.parse(place.dataset.plot);
    made.get(place.id)?.destroy();
    const plot = new uPlot(options(given, place.clientWidth), given.values, place);
    plot.root.setAttribute("aria-hidden", "true"); // the place has a name, and the table says it all
    made.set(place.id, plot);
  };
  const drawAll = () => document.querySelectorAll("[data-plot]").forEach(draw);
  addEventListener("shown", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      for (const [id, plot] of made) {
        const place = document.getElementById(id);
        if (place) plot.setSize({ width: place.clientWidth, height: HEIGHT_PX });
      }
    });
  });
  drawAll();
})();
