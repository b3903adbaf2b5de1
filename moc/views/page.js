"use strict";
// Draws the page from the JSON in #data. State is one object; every change ends in render().
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { grey, ink, baseline: violet } = data.colours;
  const $ = (id) => document.getElementById(id);
  const front = data.trials.filter((trial) => trial.front)
    .sort((a, b) => a.validation[data.axes[0]][0] - b.validation[data.axes[0]][0]);
  const hasTest = front.some((trial) => trial.test);
  const marks = ["circle", "square", "diamond", "triangle-up", "triangle-down", "star", "hexagon"];
  // Epsilon has controls, an axis and a column of its own: it belongs to rungs.
  const objectives = Object.fromEntries(data.objectives.filter((o) => o.name !== "epsilon").map((o) => [o.name, o]));
  const keys = Object.keys(objectives), measured = keys.filter((key) => !objectives[key].exact);
  const state = { measured: "validation", limits: {}, brush: {}, pinned: null, sort: data.axes[0], down: false,
    x: data.axes[0], y: data.axes[1] };

  // ---- values ----
  const measure = (item) => item[state.measured];
  const shown = (trials) => trials.filter(measure);
  const one = (value) => value.toFixed(1);
  const pair = (value) => (!value ? "-" : value[1] === null ? one(value[0]) : `${one(value[0])} ± ${one(value[1])}`);
  const kept = (trial) => {
    const scores = measure(trial);
    return Boolean(scores) && Object.entries(state.limits).every(([key, limit]) =>
      limit === undefined || (key === "epsilon" ? trial.rung >= limit : scores[key][0] <= limit)) &&
      Object.entries(state.brush).every(([axis, ranges]) =>
        ranges.some(([low, high]) => axes[axis].of(trial) >= low && axes[axis].of(trial) <= high));
  };

  // ---- axes of the parallel coordinates ----
  const rungTicks = {
    tickvals: data.rungs.map((_, k) => k), ticktext: data.rungs.map((rung) => rung.words),
    range: [data.rungs.length - 0.5, -0.5],
  };
  const weighed = Object.keys(data.trials[0]?.weights ?? {});
  const axes = [
    ...weighed.slice(1).map((key) => (
      { label: `weight of ${(objectives[key] ?? { words: key }).words}`, of: (t) => t.weights[key], range: [0, 1] })),
    ...(data.open ? [] : [{ label: "epsilon", of: (t) => t.rung, ...rungTicks }]),
    ...keys.map((key) => ({ label: objectives[key].heading, of: (t) => measure(t)[key][0] })),
  ];

  // ---- drawing ----
  const font = { family: "system-ui, 'DejaVu Sans', sans-serif", size: 13, color: ink };
  const config = { displayModeBar: false, responsive: true };
  const plain = { font, paper_bgcolor: "#fff", plot_bgcolor: "#fff" };
  const axis = (text, more) => ({ title: { text }, gridcolor: "#e9ecef", zeroline: false, ...more });

  const points = (items, marker, more) => ({
    type: "scatter", mode: "markers", customdata: items.map((item) => item.name),
    x: items.map((item) => measure(item)[state.x][0]), y: items.map((item) => measure(item)[state.y][0]),
    error_x: { array: items.map((item) => measure(item)[state.x][1]), thickness: 1.2, width: 0, color: marker.color },
    error_y: { array: items.map((item) => measure(item)[state.y][1]), thickness: 1.2, width: 0, color: marker.color },
    marker, hovertemplate: `%{customdata}<br>${objectives[state.x].words} %{x:.1f}${objectives[state.x].suffix}<br>` +
      `${objectives[state.y].words} %{y:.1f}${objectives[state.y].suffix}<extra></extra>`, ...more,
  });

  function drawScatter() {
    const fade = (items) => items.map((item) => (kept(item) ? 1 : 0.15));
    const others = shown(data.trials.filter((trial) => !trial.front));
    const traces = [points(others,
      { color: "#fff", size: 7, line: { color: grey, width: 1.3 }, opacity: fade(others),
        symbol: others.map((trial) => marks[trial.rung % marks.length]) },
      { name: "dominated", error_x: {}, error_y: {}, legendrank: 2000 })];
    // Every point of a curve is a set: what those between the scored ones are expected to score.
    const curves = state.measured === "validation" && data.dial ? data.dial.curves.filter(
      (curve) => state.x in curve.scores && state.y in curve.scores) : [];
    curves.forEach((curve) => traces.push({
      type: "scatter", mode: "lines", x: curve.scores[state.x].mean, y: curve.scores[state.y].mean,
      line: { color: `${curve.colour}88`, width: 1.8 }, showlegend: false, hoverinfo: "skip",
    }));
    const joined = curves.length ? "markers" : "lines+markers";
    data.rungs.forEach((rung, k) => {
      const chosen = shown(front).filter((trial) => trial.rung === k);
      chosen.sort((a, b) => measure(a)[state.x][0] - measure(b)[state.x][0]);
      const bright = chosen.filter(kept), dim = chosen.filter((trial) => !kept(trial));
      const marker = { color: rung.colour, symbol: marks[k % marks.length], line: { color: "#fff", width: 1 } };
      const name = data.open ? "front, open" : `front, ε = ${rung.words}`;
      traces.push(points(bright, { ...marker, size: 12 }, { name, mode: joined, legendgroup: name, showlegend: true,
        line: { color: `${rung.colour}55`, width: 1.5 } }));
      traces.push(points(dim, { ...marker, size: 9, opacity: 0.18 }, { name, showlegend: false, error_x: {}, error_y: {} }));
    });
    const real = shown(data.baselines);
    traces.push(points(real, { color: violet, symbol: "x-thin", size: 9, line: { color: violet, width: 2.5 } },
      { name: "real records", mode: "markers+text", text: real.map((item) => item.name),
        textposition: "top right", textfont: { color: violet, size: 12 }, legendrank: 3000 }));
    const ring = selected();
    if (ring && measure(ring)) {
      traces.push(points([ring], { size: 21, symbol: "circle-open", color: ink, line: { width: 1.6 } },
        { showlegend: false, hoverinfo: "skip", hovertemplate: null, error_x: {}, error_y: {} }));
    }
    const where = state.measured === "test" ? "test records" : "validation records";
    Plotly.react("scatter", traces, {
      ...plain, margin: { l: 64, r: 12, t: 8, b: 52 }, hovermode: "closest",
      uirevision: `${state.measured} ${state.x} ${state.y}`,
      xaxis: axis(`← better     ${objectives[state.x].words} on ${where},${objectives[state.x].suffix}`),
      yaxis: axis(`← better     ${objectives[state.y].words} on ${where},${objectives[state.y].suffix}`),
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    }, config);
  }

  function drawParallel() {
    const lines = shown(front);
    const steps = Math.max(data.rungs.length - 1, 1);
    const colours = data.rungs.map((rung, k) => [k / steps, rung.colour]);
    if (colours.length === 1) colours.push([1, colours[0][1]]);
    Plotly.react("parallel", !lines.length ? [] : [{
      type: "parcoords",
      line: { color: lines.map((trial) => trial.rung), cmin: 0, cmax: steps, colorscale: colours },
      unselected: { line: { color: "#d5dade", opacity: 0.35 } },
      labelfont: { size: 13 }, tickfont: { size: 12 },
      dimensions: axes.map(({ label, of, ...rest }, k) => {
        const values = lines.map(of);
        const range = [Math.floor(Math.min(...values)), Math.ceil(Math.max(...values))];
        return { label, values, range, ...rest, ...(state.brush[k] ? { constraintrange: state.brush[k] } : {}) };
      }),
    }], { ...plain, margin: { l: 80, r: 60, t: 48, b: 24 }, uirevision: state.measured }, config);
  }

  function drawProgress() {
    const colour = data.rungs.length ? data.rungs[data.rungs.length - 1].colour : ink;
    Plotly.newPlot("progress", [{
      x: data.hypervolume.map((_, k) => k + 1), y: data.hypervolume, type: "scatter", mode: "lines",
      line: { shape: "hv", color: colour, width: 2.5 }, fill: "tozeroy", fillcolor: `${colour}18`,
      hovertemplate: "after %{x} trials: %{y:.3f}<extra></extra>",
    }], { ...plain, margin: { l: 64, r: 12, t: 8, b: 44 },
      xaxis: axis("finished trials", { rangemode: "tozero" }), yaxis: axis("hypervolume", { rangemode: "tozero" }) },
    config);
  }

  function drawCurves() {
    if (!data.curves.length) return;
    const current = selected();
    const traces = data.curves.map(({ name, eps, errors }) => {
      const trial = find(name), colour = trial ? data.rungs[trial.rung].colour : violet;
      return {
        name, x: eps, y: errors.map(([mean]) => mean), customdata: eps.map(() => name),
        type: "scatter", mode: "lines+markers", opacity: trial && !kept(trial) ? 0.15 : 1,
        error_y: { array: errors.map(([, se]) => se), thickness: 1, width: 0, color: colour },
        line: { color: colour, width: trial && trial === current ? 4 : 2, dash: trial ? "solid" : "dash" },
        marker: { color: colour, size: 7, symbol: trial ? marks[trial.rung % marks.length] : "x" },
        hovertemplate: "%{customdata}<br>eps %{x}: %{y:.1f} %<extra></extra>",
      };
    });
    const line = { type: "line", x0: data.threat, x1: data.threat, yref: "paper", y0: 0, y1: 1, line: { color: ink, width: 1, dash: "dot" } };
    Plotly.react("curves", traces, {
      ...plain, margin: { l: 64, r: 12, t: 8, b: 44 }, hovermode: "closest", shapes: data.threat ? [line] : [],
      xaxis: axis("eps of the attack", { rangemode: "tozero" }),
      yaxis: axis("← better     error under attack, %", { rangemode: "tozero" }),
    }, config);
  }

  // ---- table ----
  const element = (tag, content, more = {}) => {
    const made = Object.assign(document.createElement(tag), more);
    for (const child of [content].flat()) made.append(child);
    return made;
  };
  // What a click does, Enter and the space bar do; arrows go from row to row. Drawing anew keeps the focus.
  function pressable(node, key, act) {
    Object.assign(node, { tabIndex: 0, onclick: act, onkeydown: (event) => {
      if (event.key === "Enter" || event.key === " ") act();
      else if (["ArrowDown", "ArrowRight"].includes(event.key)) node.nextElementSibling?.focus();
      else if (["ArrowUp", "ArrowLeft"].includes(event.key)) node.previousElementSibling?.focus();
      else return;
      event.preventDefault();
    } });
    node.dataset.key = key;
    return node;
  }
  const columns = [
    { key: "name", title: "set", of: (t) => t.name },
    { key: "epsilon", title: "epsilon", of: (t) => t.epsilon ?? Infinity, show: (t) => t.epsilon_words ?? "real" },
    ...keys.map((key) => (
      { key, title: objectives[key].heading, of: (t) => measure(t)[key][0], strip: key, show: (t) => pair(measure(t)[key]) })),
    ...(hasTest ? measured : []).map((key) => ({
      key: `other_${key}`, title: () => `${objectives[key].heading}, ${state.measured === "test" ? "validation" : "test"}`,
      of: (t) => other(t)?.[key][0] ?? Infinity, show: (t) => pair(other(t)?.[key]) })),
    ...weighed.slice(1).map((key) => ({ key: `weight_${key}`, title: `weight of ${(objectives[key] ?? { words: key }).words}`,
      of: (t) => t.weights?.[key] ?? 2, show: (t) => t.weights?.[key].toFixed(2) ?? "" })),
    { key: "checks", title: "masking checks", of: (t) => t.checks ?? "" },
    { key: "chance", title: "P(front)", of: (t) => t.chance ?? -1, show: (t) => t.chance?.toFixed(2) ?? "" },
  ];
  const other = (item) => item[state.measured === "test" ? "validation" : "test"];

  function strip(key, item, colour, [low, high]) {
    const place = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
    const [mean, se] = measure(item)[key];
    const bar = element("i", []), dot = element("b", []), made = element("span", [bar, dot], { className: "strip" });
    Object.assign(bar.style, { left: place(mean - se), width: `${(200 * se) / (high - low || 1)}%`, background: colour });
    Object.assign(dot.style, { left: place(mean), background: colour });
    return made;
  }

  function drawTable() {
    const sorted = columns.find((column) => column.key === state.sort);
    const rows = shown(front).filter(kept).sort((a, b) => (sorted.of(a) < sorted.of(b) ? -1 : 1) * (state.down ? -1 : 1));
    const real = shown(data.baselines), all = [...shown(front), ...real];
    const spans = Object.fromEntries(keys.map((key) => {
      const ends = all.flatMap((item) => { const [m, s] = measure(item)[key]; return [m - s, m + s]; });
      return [key, [Math.min(...ends), Math.max(...ends)]];
    }));
    const focused = document.activeElement?.dataset.key;
    $("table").tHead.replaceChildren(element("tr", columns.map((column) => {
      const title = typeof column.title === "function" ? column.title() : column.title;
      const head = pressable(element("th", title, { scope: "col" }), `by ${column.key}`, () => {
        state.down = state.sort === column.key && !state.down; state.sort = column.key; drawTable();
      });
      if (column === sorted) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      return head;
    })));
    const row = (item, colour, mark, more) => element("tr", columns.map((column) => element("td", [
      ...(column.key === "name" ? [mark] : []), (column.show ?? column.of)(item),
      ...(column.strip ? [strip(column.strip, item, colour, spans[column.strip])] : [])])), more);
    const current = selected();
    $("table").tBodies[0].replaceChildren(
      ...rows.map((trial) => {
        const colour = data.rungs[trial.rung].colour, dot = element("span", [], { className: "dot" });
        dot.style.background = colour;
        const made = row(trial, colour, dot, { className: trial === current ? "trial selected" : "trial" });
        if (trial === current) made.setAttribute("aria-current", "true");
        return pressable(made, trial.name, () => pin(trial.name));
      }),
      ...real.map((item) => row(item, violet, element("span", "×", { className: "cross" }), { className: "baseline" })));
    if (focused) [...$("table").querySelectorAll("[data-key]")].find((node) => node.dataset.key === focused)?.focus();
    $("count").textContent = `${rows.length} of ${front.length} sets remain`;
  }

  // ---- one set ----
  const find = (name) => data.trials.find((trial) => trial.name === name);
  const selected = () => find(state.pinned) ?? front.find(kept) ?? front[0] ?? data.trials[0];

  function showDetail(trial) {
    $("detail").hidden = !trial;
    if (!trial) return;
    $("detail-name").textContent = trial.name;
    $("detail-words").textContent = `${trial.front ? "On the front" : "Dominated"}; ` +
      (data.open ? "open, no privacy" : `epsilon ${trial.epsilon_words}`) +
      `; masking checks ${trial.checks}. ${trial.sheet ? "One row a class" : `Its records: sets/${trial.name}.safetensors`}.`;
    $("sheet").hidden = !trial.sheet;
    if (trial.sheet) $("sheet").src = `data:image/png;base64,${trial.sheet}`;
    $("sheet").alt = `Synthetic records of ${trial.name}, one row a class`;
    const lines = keys.flatMap((key) => ["validation", "test"].filter((where) => trial[where])
      .map((where) => element("tr", [element("td", `${objectives[key].words}, ${where}`), element("td", pair(trial[where][key]) + objectives[key].suffix)])));
    $("detail-scores").replaceChildren(...lines);
  }
  function pin(name) { state.pinned = name; render(); }

  // ---- controls ----
  function setUp() {
    const select = $("limit-epsilon");
    select.append(element("option", "any", { value: "" }), ...data.rungs.map((rung, k) => element("option", rung.words, { value: k })));
    select.onchange = () => { state.limits.epsilon = select.value === "" ? undefined : Number(select.value); render(); };
    document.querySelector("label.epsilon").hidden = data.open;
    document.querySelector("label.measured").hidden = !hasTest;
    for (const [id, which] of [["axis-x", "x"], ["axis-y", "y"]]) {
      $(id).append(...keys.map((key) => element("option", objectives[key].words, { value: key, selected: key === state[which] })));
      $(id).onchange = () => { state[which] = $(id).value; render(); };
    }
    $("axes").hidden = keys.length < 3;
    for (const key of keys) {
      const slider = $(`limit-${key}`);
      slider.oninput = () => { state.limits[key] = Number(slider.value); label(key); render(); };
    }
    $("measured").onchange = () => { state.measured = $("measured").value; state.brush = {}; bounds(); render(); };
    $("reset").onclick = () => { state.limits = {}; state.brush = {}; state.pinned = null; select.value = ""; bounds(); render(); };
    $("parallel").closest("section").hidden = !front.length;
    $("progress").closest("section").hidden = !data.hypervolume.length;
  }
  function bounds() {
    for (const key of keys) {
      const values = shown(data.trials).map((trial) => measure(trial)[key][0]);
      const slider = $(`limit-${key}`);
      slider.min = Math.floor(Math.min(...values)); slider.max = Math.ceil(Math.max(...values)); slider.value = slider.max;
      delete state.limits[key];
      label(key);
    }
  }
  function label(key) {
    const slider = $(`limit-${key}`);
    slider.parentElement.querySelector("output").textContent = key in state.limits ? one(state.limits[key]) + objectives[key].suffix : "any";
  }
  function listen() {
    const name = (event) => event.points[0].customdata;
    $("scatter").on("plotly_hover", (event) => { const trial = find(name(event)); if (trial) showDetail(trial); });
    $("scatter").on("plotly_unhover", () => showDetail(selected()));
    $("scatter").on("plotly_click", (event) => { if (find(name(event))) pin(name(event)); });
    $("parallel").on("plotly_restyle", () => {
      state.brush = {};
      $("parallel").data[0]?.dimensions.forEach((dimension) => {
        const k = axes.findIndex((one_) => one_.label === dimension.label), range = dimension.constraintrange;
        if (range) state.brush[k] = Array.isArray(range[0]) ? range : [range];
      });
      drawScatter(); drawCurves(); drawTable();
    });
    $("curves")?.on("plotly_click", (event) => { if (find(name(event))) pin(name(event)); });
  }
  function render() { drawScatter(); drawParallel(); drawCurves(); drawTable(); showDetail(selected()); }

  $("limits").append(...keys.map((key) => element("label", [`${objectives[key].words} at most `,
    element("input", [], { type: "range", id: `limit-${key}`, step: "any" }), element("output", [])])));
  drawProgress();
  bounds();
  render();
  setUp();
  listen();
  document.body.dataset.ready = "true";
})();
