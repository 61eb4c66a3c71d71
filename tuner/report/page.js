(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const colours = JSON.parse(document.getElementById("colours").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // "@blue" is a colour of the page, light or dark.
  function coloured(value) {
    if (typeof value === "string" && value[0] === "@") {
      const name = value.slice(1);
      if (name in colours) return colours[name][dark.matches ? 1 : 0];
      return value;
    }
    if (Array.isArray(value)) return typeof value[0] === "number" && typeof value[value.length - 1] === "number" ? value : value.map(coloured);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one)]));
    return value;
  }

  function layoutOf(figure, narrow) {
    const ink = variable("--ink"), line = variable("--line"), paper = variable("--paper");
    const layout = coloured(structuredClone(figure.layout));
    for (const name of ["xaxis", "yaxis"]) {
      if (layout[name]) layout[name] = { gridcolor: line, zerolinecolor: line, linecolor: line, zeroline: false, ...layout[name] };
    }
    const legend = { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" };
    const named = layout.showlegend !== false && figure.traces.length > 1;
    return {
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      paper_bgcolor: paper, plot_bgcolor: paper, margin: { l: narrow ? 44 : 60, r: 16, t: narrow ? 22 : 34, b: named ? 84 : 48 }, autosize: true, legend,
      hoverlabel: { bgcolor: variable("--panel"), bordercolor: line, font: { color: ink } }, ...layout,
    };
  }

  const shown = (bar) => ({  // the bar covers a part of a figure that is not wide
    responsive: true, displaylogo: false, displayModeBar: bar ? "hover" : false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]],
  });

  function draw(number) {
    const place = document.getElementById(`figure-${number}`);
    if (!place.clientWidth) return Promise.resolve();
    drawn.add(number);
    const figure = figures[number];
    const narrow = place.clientWidth < 480;
    return Plotly.react(place, coloured(figure.traces), layoutOf(figure, narrow), shown(place.clientWidth >= 640));
  }

  // A figure is drawn when it is about to be seen: a page of several runs has many.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const number = Number(entry.target.id.slice(7));
      if (entry.isIntersecting && !drawn.has(number)) draw(number);
    }
  }, { rootMargin: "600px" });
  figures.forEach((_, number) => seen.observe(document.getElementById(`figure-${number}`)));
  window.drawAll = () => Promise.all(figures.map((_, number) => (drawn.has(number) ? null : draw(number))));
  addEventListener("beforeprint", window.drawAll);
  dark.addEventListener("change", () => drawn.forEach(draw));

  // What hangs over to the right fades there, so that one sees that there is more.
  const wide = document.querySelectorAll(".scroll");
  const fade = (place) => place.classList.toggle("more", place.scrollLeft + place.clientWidth < place.scrollWidth - 1);
  const fadeAll = () => wide.forEach(fade);
  wide.forEach((place) => place.addEventListener("scroll", () => fade(place), { passive: true }));
  addEventListener("resize", fadeAll);
  document.addEventListener("toggle", fadeAll, true);
  fadeAll();

  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  function points(figure) {
    const rows = [];
    for (const trace of figure.traces) {
      (trace.x || []).forEach((x, i) => x !== null && rows.push([trace.text ? `${trace.name} ${trace.text[i]}` : trace.name, x, trace.y[i]]));
    }
    return rows;
  }

  window.csvOf = (number) => {
    const figure = figures[number];
    return [figure.columns, ...(figure.rows || points(figure))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
  };

  async function save(number, kind) {
    const name = figures[number].name;
    if (kind === "csv") {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([window.csvOf(number)], { type: "text/csv" }));
      link.download = `${name}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      return;
    }
    if (!drawn.has(number)) await draw(number);
    const place = document.getElementById(`figure-${number}`);
    await Plotly.downloadImage(place, { format: kind, filename: name, width: Math.max(place.clientWidth, 900), height: place.clientHeight, scale: kind === "png" ? 2 : 1 });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-figure]");
    if (button) save(Number(button.dataset.figure), button.dataset.as);
  });
})();
