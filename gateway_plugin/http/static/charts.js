// Lines over the last quarter of an hour: the history first, then what the feed tells.

import { number, seconds } from "./dom.js";

const WINDOW_SECONDS = 900;
const MAX_POINTS = 1300;
const perSecond = (value) => `${number(value, value < 10 ? 1 : 0)}/s`;
const CHARTS = [
  { id: "ttft", title: "Time to first token", told: seconds, lines: [["p50", "ttft_p50_seconds", "--line-1"], ["p95", "ttft_p95_seconds", "--line-2"]] },
  { id: "tokens", title: "Tokens", told: perSecond, lines: [["output", "output_tokens_per_second", "--line-1"], ["prompt", "prompt_tokens_per_second", "--line-2"]] },
  { id: "requests", title: "Requests", told: perSecond, lines: [["all", "requests_per_second", "--line-1"], ["refused", "refusals_per_second", "--line-2"], ["failed", "failures_per_second", "--line-3"]] },
];

export class Charts {
  constructor(parent) {
    this.points = [];
    this.parent = parent;
    this.drawn = CHARTS.map((chart) => frame(parent, chart));
    new ResizeObserver(() => this.resize()).observe(parent);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
    this.rebuild();
  }

  begin(history) {
    const first = this.points[0]?.at_seconds ?? Infinity;
    this.points.unshift(...history.filter((point) => point.at_seconds < first));
    this.draw();
  }

  add(point) {
    if (this.points.length && point.at_seconds <= this.points.at(-1).at_seconds) return;
    this.points.push(point);
    const oldest = point.at_seconds - WINDOW_SECONDS;
    while (this.points.length > MAX_POINTS || this.points[0].at_seconds < oldest) this.points.shift();
    this.draw();
  }

  rebuild() {
    for (const one of this.drawn) {
      one.plot?.destroy();
      one.plot = new uPlot(options(one), [[]], one.box);
    }
    this.draw();
  }

  resize() {
    for (const one of this.drawn) one.plot.setSize(sizeOf(one.box));
  }

  draw() {
    const times = this.points.map((point) => point.at_seconds);
    for (const { chart, plot, text, box } of this.drawn) {
      plot.setData([times, ...chart.lines.map(([, name]) => this.points.map((point) => point.rates[name]))]);
      const last = this.points.at(-1)?.rates ?? {};
      const now = chart.lines.map(([label, name]) => `${label} ${last[name] === undefined || last[name] === null ? "–" : chart.told(last[name])}`);
      text.textContent = now.join(" · ");
      box.setAttribute("aria-label", `${chart.title} over time; now ${now.join(", ")}`);
    }
  }
}

function frame(parent, chart) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = chart.title;
  const text = document.createElement("span");
  caption.append(title, text);
  const box = document.createElement("div");
  box.className = "plot";
  box.setAttribute("role", "img");
  figure.append(caption, box);
  parent.append(figure);
  return { chart, box, text, plot: null };
}

const sizeOf = (box) => ({ width: Math.max(200, box.clientWidth), height: 170 });

function options({ chart, box }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    ...sizeOf(box),
    legend: { show: false },
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (plot, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [{ ...axis, values: (plot, ticks) => ticks.map((at) => new Date(at * 1000).toTimeString().slice(0, 5)), space: 70, size: 26 }, { ...axis, size: 64, values: (plot, ticks) => ticks.map(chart.told) }],
    series: [{}, ...chart.lines.map(([label, , name], index) => ({ label, stroke: colour(name), width: 2, dash: index ? [6, 3 * index] : undefined, points: { show: false }, spanGaps: true }))],
  };
}
