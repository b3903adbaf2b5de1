"use strict";
// A slider along each curve: mixes the control sets, and shows the scores that are to be expected.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent), data = page.dial;
  if (!data) return;
  const $ = (id) => document.getElementById(id);
  const slider = $("dial"), select = $("dial-rung");
  const words = Object.fromEntries(page.objectives.map((one) => [one.name, one]));
  const bytes = data.curves.map((curve) => Uint8Array.from(atob(curve.pixels), (c) => c.charCodeAt(0)));
  const dashes = ["solid", "dash", "dot", "dashdot"];
  select?.append(...data.curves.map((curve, k) => Object.assign(document.createElement("option"), { value: k, textContent: curve.words })));
  const place = () => Number(select?.value ?? 0), step = () => Number(slider.value);

  // Bernstein polynomials of two weights; control set k has the exponent of the second one.
  function basis(w, degree) {
    const choose = (n, k) => (k === 0 ? 1 : (choose(n, k - 1) * (n - k + 1)) / k);
    return Array.from({ length: degree + 1 }, (_, k) => choose(degree, k) * w ** k * (1 - w) ** (degree - k));
  }

  function drawSheet(curve, controls, w) {
    const [count, rows, columns, height, width, channels] = curve.shape, size = controls.length / count;
    const shares = basis(w, curve.degree), gap = Math.max(1, Math.round(width / 10)), tall = height === 1 ? 4 : 1;
    const canvas = $("dial-sheet");
    canvas.width = columns * (width + gap); canvas.height = rows * (height * tall + gap);
    const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
    image.data.fill(255);
    for (let r = 0; r < rows; r += 1) for (let c = 0; c < columns; c += 1) for (let i = 0; i < height * tall; i += 1) for (let j = 0; j < width; j += 1) {
      const from = (((r * columns + c) * height + Math.floor(i / tall)) * width + j) * channels;
      const to = 4 * ((r * (height * tall + gap) + i) * canvas.width + c * (width + gap) + j);
      for (let k = 0; k < 3; k += 1) {
        const at = from + (channels === 3 ? k : 0);
        image.data[to + k] = shares.reduce((sum, share, p) => sum + share * controls[p * size + at], 0);
      }
    }
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", `Synthetic records at weight ${w.toFixed(2)}, one row a class`);
  }

  function drawPlot(curve, w) {
    const traces = Object.entries(curve.scores).flatMap(([name, line], k) => {
      const xs = curve.weights, colour = curve.colour, up = line.mean.map((m, i) => m + line.error[i]), down = line.mean.map((m, i) => m - line.error[i]);
      return [
        { x: [...xs, ...[...xs].reverse()], y: [...up, ...down.reverse()], fill: "toself", fillcolor: `${colour}22`, line: { width: 0 },
          type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false },
        { x: xs, y: line.mean, type: "scatter", mode: "lines", name: words[name].heading, line: { color: colour, width: 2.5, dash: dashes[k % dashes.length] },
          hovertemplate: `weight %{x:.2f}: %{y:.1f}${words[name].suffix}<extra>${words[name].words}</extra>` },
        { x: line.scored.map((one) => one[0]), y: line.scored.map((one) => one[1]), error_y: { array: line.scored.map((one) => one[2]), width: 0, thickness: 1.2, color: colour },
          customdata: line.scored.map((one) => one[3]), type: "scatter", mode: "markers", marker: { color: "#fff", size: 8, line: { color: colour, width: 2 } }, showlegend: false,
          hovertemplate: "%{customdata}: %{y:.1f}<extra></extra>" },
      ];
    });
    Plotly.react("dial-plot", traces, {
      font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: 13, color: page.colours.ink }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
      margin: { l: 56, r: 12, t: 8, b: 44 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      xaxis: { title: { text: `weight of ${words[data.loss].words}` }, range: [-0.03, 1.03], gridcolor: "#e9ecef", zeroline: false },
      yaxis: { title: { text: "← better     expected score" }, rangemode: "tozero", gridcolor: "#e9ecef", zeroline: false },
      shapes: [{ type: "line", x0: w, x1: w, yref: "paper", y0: 0, y1: 1, line: { color: page.colours.ink, width: 1.5, dash: "dot" } }],
    }, { displayModeBar: false, responsive: true });
  }

  function draw() {
    const curve = data.curves[place()], w = step() / 64;
    drawSheet(curve, bytes[place()], w);
    drawPlot(curve, w);
    $("dial-weight").textContent = w.toFixed(2);
    const near = curve.weights.reduce((best, x, k) => (Math.abs(x - w) < Math.abs(curve.weights[best] - w) ? k : best), 0);
    $("dial-scores").replaceChildren(...Object.entries(curve.scores).map(([name, line]) => {
      const row = document.createElement("tr");
      for (const text of [`${words[name].words}, expected`, `${line.mean[near].toFixed(1)} ± ${line.error[near].toFixed(1)}${words[name].suffix}`]) {
        row.append(Object.assign(document.createElement("td"), { textContent: text }));
      }
      return row;
    }));
    const rung = curve.rung === null ? "" : ` --rung ${curve.rung}`;
    const recipe = curve.recipe ? ` --recipe ${curve.recipe}` : "";
    $("dial-command").textContent = `moc choose ${data.study} --at ${w.toFixed(2)}${rung}${recipe}`;
  }
  slider.oninput = draw;
  if (select) select.onchange = draw;
  draw();
  document.body.dataset.dial = "true";
})();
