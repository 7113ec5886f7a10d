// The page of iddpm watch. It asks for the state of all runs at every server-sent event, and for the
// curves of the runs that have new rows.

const colors = ["#3b82f6", "#f97316", "#16a34a", "#d946ef", "#dc2626", "#0891b2", "#a16207", "#7c3aed", "#64748b", "#db2777"];
const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

// One chart per entry: several metrics in one chart are told apart by dashes.
const mainCharts = [
  { title: "loss", metrics: ["loss"] },
  { title: "loss by quartile of the timestep", metrics: ["loss_q0", "loss_q1", "loss_q2", "loss_q3"] },
  { title: "held-out bits/dim", metrics: ["eval_bpd"] },
  { title: "FID", metrics: ["eval_fid"] },
  { title: "KID", metrics: ["eval_kid"] },
  { title: "learning rate", metrics: ["lr"] },
  { title: "gradient norm", metrics: ["grad_norm"] },
  { title: "gradient noise scale", metrics: ["grad_noise_scale"] },
  { title: "images per second", metrics: ["images_per_second"] },
  { title: "fraction of time waiting for images", metrics: ["data_wait"] },
];

const page = {
  runs: [],
  curves: new Map(), // run id -> { rows, metrics }
  hidden: new Set(), // ids of runs that the user has hidden
  charts: new Map(), // title -> { element, plot, key }
  grids: new Map(), // run id -> { element, chosen }
};

const $ = (selector) => document.querySelector(selector);

function element(name, properties = {}, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

// shortName drops the folders that all runs share.
function shortName(run) {
  if (page.runs.length < 2) return run.name.replace(/\/+$/, "").split("/").at(-1);
  const parts = page.runs.map((r) => r.name.split("/"));
  const shared = parts[0].findIndex((part, i) => parts.some((p) => p[i] !== part || p.length === i + 1));
  return run.name.split("/").slice(Math.max(0, shared)).join("/");
}

const shown = () => page.runs.filter((run) => !page.hidden.has(run.id));
const colorOf = (run) => colors[Number(run.id) % colors.length];

function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([size]) => seconds >= size);
  if (at < 0) return "0 s";
  const [size, unit] = parts[at];
  const rest = parts[at + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}` + (more && unit !== "min" ? ` ${more} ${rest[1]}` : "");
}

const since = (time) => (time ? `${duration((Date.now() - Date.parse(time)) / 1000)} ago` : "");

// --- runs ---

function showRuns() {
  const rows = page.runs.map((run) => {
    const box = element("input", { type: "checkbox", checked: !page.hidden.has(run.id), ariaLabel: `show ${shortName(run)}` });
    box.dataset.run = run.id;
    box.onchange = () => {
      box.checked ? page.hidden.delete(run.id) : page.hidden.add(run.id);
      refreshShown();
    };
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colorOf(run);
    const cells = [
      element("label", {}, box, swatch), element("span", { title: run.name }, shortName(run)), run.state,
      run.steps ? `${run.step} of ${run.steps}` : `${run.step}`,
      run.eta_seconds ? duration(run.eta_seconds) : "",
      run.images_per_second ? run.images_per_second.toPrecision(3) : "",
      since(run.logged),
      run.checkpoint ? `${run.checkpoint.replace("checkpoints/", "")}, ${since(run.saved)}` : "",
      run.warnings.join("; "),
    ];
    const row = element("tr", {}, ...cells.map((cell) => element("td", {}, cell)));
    row.lastChild.className = "warnings";
    return row;
  });
  replaceKeepingFocus($("#runs tbody"), rows);
}

// replaceKeepingFocus lets the keyboard stay on the same run's box.
function replaceKeepingFocus(parent, children) {
  const focused = document.activeElement?.dataset?.run;
  parent.replaceChildren(...children);
  if (focused !== undefined) parent.querySelector(`[data-run="${focused}"]`)?.focus();
}

function showDifferences() {
  const names = [...new Set(page.runs.flatMap((run) => Object.keys(run.differences)))].sort();
  $("#settings .empty").hidden = names.length > 0;
  const head = element("tr", {}, element("th", {}, "setting"), ...page.runs.map((run) => element("th", {}, shortName(run))));
  const rows = names.map((name) => element("tr", {}, element("th", {}, name), ...page.runs.map((run) => element("td", {}, run.differences[name] ?? ""))));
  $("#differences").replaceChildren(...(names.length ? [head, ...rows] : []));
}

// --- sample grids ---

function showGrids() {
  let any = false;
  for (const run of page.runs) {
    const visible = run.grids.length > 0 && !page.hidden.has(run.id);
    if (visible && !page.grids.has(run.id)) page.grids.set(run.id, newGrid(run));
    const grid = page.grids.get(run.id);
    if (!grid) continue;
    grid.element.hidden = !visible;
    if (visible) updateGrid(grid, run);
    any ||= visible;
  }
  $("#samples .empty").hidden = any;
}

function newGrid(run) {
  const slider = element("input", { type: "range", min: 0, ariaLabel: `step of the samples of ${run.name}` });
  const image = element("img", { alt: `samples of ${run.name}` });
  const caption = element("figcaption");
  const grid = { element: element("figure", {}, caption, image, slider), slider, image, caption, newest: true, run };
  slider.oninput = () => {
    grid.newest = Number(slider.value) === grid.run.grids.length - 1;
    drawGrid(grid);
  };
  $("#grids").append(grid.element);
  return grid;
}

// updateGrid stays at the newest grid unless the user has moved the slider.
function updateGrid(grid, run) {
  const chosen = grid.run.grids[Number(grid.slider.value)]?.name;
  grid.run = run;
  grid.slider.max = run.grids.length - 1;
  const at = run.grids.findIndex((g) => g.name === chosen);
  grid.slider.value = grid.newest || at < 0 ? run.grids.length - 1 : at;
  drawGrid(grid);
}

function drawGrid(grid) {
  const { step, name } = grid.run.grids[Number(grid.slider.value)];
  const url = `api/runs/${grid.run.id}/grids/${name.split("/").map(encodeURIComponent).join("/")}`;
  if (grid.image.getAttribute("src") !== url) grid.image.src = url;
  grid.caption.textContent = `${shortName(grid.run)}, step ${step}`;
  grid.slider.setAttribute("aria-valuetext", `step ${step}`);
}

// --- charts ---

// pointsPerCurve keeps the data of many runs small.
const pointsPerCurve = () => Math.max(200, Math.floor(2048 / Math.max(1, Math.ceil(shown().length / 4))));

async function fetchCurves(run) {
  const old = page.curves.get(run.id);
  const points = pointsPerCurve();
  if (old && old.rows === run.rows && old.points === points) return;
  const query = new URLSearchParams([["points", points], ...run.metrics.map((name) => ["metric", name])]);
  const response = await fetch(`api/runs/${run.id}/curves?${query}`);
  if (response.ok) page.curves.set(run.id, { rows: run.rows, points, metrics: await response.json() });
}

function smoothed(values, rate) {
  if (rate === 0) return values;
  let mean = 0, weight = 0;
  return values.map((v) => {
    if (v === null) return null;
    mean = rate * mean + (1 - rate) * v;
    weight = rate * weight + (1 - rate);
    return mean / weight;
  });
}

function showCharts() {
  const known = new Set(["samples", ...mainCharts.flatMap((chart) => chart.metrics)]);
  const others = [...new Set(shown().flatMap((run) => run.metrics))].filter((name) => !known.has(name)).sort();
  mainCharts.forEach((chart) => showChart(chart, $("#main-charts")));
  if ($("#more").open) others.forEach((name) => showChart({ title: name, metrics: [name] }, $("#more-charts")));
  $("#more").hidden = others.length === 0;
}

function showChart({ title, metrics }, parent) {
  const rate = Number($("#smoothing").value);
  const series = [], tables = [];
  for (const run of shown()) {
    metrics.forEach((metric, i) => {
      const curve = page.curves.get(run.id)?.metrics[metric];
      if (!curve) return;
      tables.push([curve.steps, metric === "eval_bpd" ? curve.values : smoothed(curve.values, rate)]);
      series.push({ label: metrics.length > 1 ? `${shortName(run)} ${metric}` : shortName(run), stroke: colorOf(run), dash: dashes[i], width: 1.5, spanGaps: true, points: { show: curve.steps.length < 40 } });
    });
  }
  let chart = page.charts.get(title);
  if (!chart) {
    chart = { element: element("div", { className: "chart" }, element("h3", {}, title)) };
    chart.element.dataset.title = title;
    chart.element.role = "img";
    page.charts.set(title, chart);
    parent.append(chart.element);
  }
  chart.element.hidden = tables.length === 0;
  chart.element.setAttribute("aria-label", [title, ...series.map((s, i) => describe(s.label, tables[i]))].join("; "));
  if (tables.length === 0) return;
  draw(chart, series, tables.length > 1 ? uPlot.join(tables) : tables[0]);
}

// describe says for screen readers what a curve shows.
function describe(label, [steps, values]) {
  const n = values.length;
  return `${label}: ${n} points, ${values[n - 1] ?? "not finite"} at step ${steps[n - 1]}`;
}

function draw(chart, series, data) {
  const log = $("#log-scale").checked && data.slice(1).every((values) => values.every((v) => v == null || v > 0));
  const width = Math.max(200, chart.element.clientWidth - 18);
  const key = JSON.stringify([series.map((s) => [s.label, s.points.show]), log]);
  if (chart.plot && chart.key === key) {
    if (chart.plot.width !== width) chart.plot.setSize({ width, height: 240 });
    chart.plot.setData(data);
    return;
  }
  chart.plot?.destroy();
  const { color, borderTopColor: line } = getComputedStyle(chart.element); // a canvas knows no light-dark()
  const axis = { stroke: color, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const yAxis = { ...axis, size: 60, values: (_, ticks) => ticks.map((v) => (v === null ? "" : String(Number(v.toPrecision(4))))) };
  chart.plot = new uPlot({
    width, height: 240, series: [{ label: "step" }, ...series], cursor: { sync: { key: "step" } },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } }, axes: [axis, yAxis],
  }, data, chart.element);
  chart.key = key;
}

// --- updates ---

async function refreshShown() {
  await Promise.all(shown().map(fetchCurves));
  showRuns();
  showGrids();
  showCharts();
  showDifferences();
}

let refreshing = false, again = false;

// refresh loads the state of all runs; calls during one that has not ended are merged.
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    const response = await fetch("api/runs");
    page.runs = (await response.json()).runs;
    await refreshShown();
    document.body.dataset.ready = "true";
    $("#connection").textContent = "live";
  } catch {
    $("#connection").textContent = "no connection to iddpm watch";
  }
  refreshing = false;
  if (again) {
    again = false;
    refresh();
  }
}

function redrawAll() {
  for (const chart of page.charts.values()) {
    chart.plot?.destroy();
    chart.plot = undefined;
  }
  showCharts();
}

const events = new EventSource("api/events");
events.onmessage = refresh;
events.onopen = refresh; // also after a reconnection
events.onerror = () => { $("#connection").textContent = "no connection to iddpm watch"; };

$("#log-scale").onchange = showCharts;
$("#smoothing").oninput = showCharts;
$("#more").ontoggle = showCharts;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
new ResizeObserver(showCharts).observe($("#charts"));
setInterval(showRuns, 10000); // "ago" passes without events
