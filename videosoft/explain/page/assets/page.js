"use strict";

const content = JSON.parse(document.getElementById("content").textContent);
const { clips, models, colors } = content;
const isPair = models.length === 2;
const panelNames = isPair ? [models[0].title, models[1].title, "A \u2212 B"] : [models[0].title];
const pageLimits = panelNames.map((_, panel) => Math.max(...clips.map((clip) => clip.limits[panel])));
const view = { outcome: "all", className: "", query: "", order: "page", scale: "pair", opacity: colors.max_opacity, speed: 1, playing: false };
const cards = clips.map((clip, number) => ({ clip, number, element: null, frame: 0, media: null, seen: false, loading: false, since: 0 }));
const waiting = new Map();

/** Called by the scripts beside the page, which bring a clip's media when it is seen. */
function receiveMedia(number, media) {
  const resolve = waiting.get(number);
  waiting.delete(number);
  if (resolve) resolve(media);
}

function create(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function formatPercent(fraction) {
  return `${(100 * fraction).toFixed(1)} %`;
}

function formatNumber(value) {
  return value === 0 ? "0" : Number(value.toPrecision(3)).toString().replace("-", "\u2212");
}

// ---- what stands at the top

function showHeader() {
  const block = document.getElementById("models");
  for (const model of models) {
    block.append(create("div", {}, create("strong", { textContent: model.title }),
      ...model.lines.map((line) => create("div", { className: "lines", textContent: line }))));
  }
  const table = document.getElementById("statistics");
  const heads = ["videos", ...Object.values(content.outcomes), ...models.map((model, k) => isPair ? `${"AB"[k]} right` : "accuracy"),
    ...(isPair ? ["McNemar p"] : [])];
  table.append(create("tr", {}, ...heads.map((text) => create("th", { textContent: text, scope: "col" }))));
  for (const row of content.statistics) {
    const total = Object.values(row.counts).reduce((sum, count) => sum + count, 0);
    const cells = [`${total} ${row.scope}`, ...Object.keys(content.outcomes).map((key) => String(row.counts[key])),
      ...models.map((_, k) => row.accuracies ? formatPercent(row.accuracies[k]) : "\u2013")];
    if (isPair) cells.push(row.p_value === null ? "\u2013" : `${formatNumber(row.p_value)} (${row.method})`);
    table.append(create("tr", {}, ...cells.map((text) => create("td", { textContent: text }))));
  }
}

// ---- what can be chosen

const orders = {
  page: ["as exported", () => 0],
  difference: ["largest A \u2212 B first", (a, b) => b.limits[2] - a.limits[2]],
  sure: ["least sure prediction first", (a, b) => Math.min(...a.predictions.map((p) => p[1])) - Math.min(...b.predictions.map((p) => p[1]))],
  name: ["by video id", (a, b) => a.video_id < b.video_id ? -1 : a.video_id > b.video_id ? 1 : 0],
};
if (!isPair) {
  delete orders.difference;
  // A clip's only map has a scale of its own already.
  document.querySelector("#scale option[value=map]").remove();
  document.querySelector("#scale option[value=pair]").textContent = "the clip's own";
  document.querySelector("#scale option[value=rank]").textContent = "ranks";
}

function classOf(clip) {
  return clip.label === null ? clip.target : clip.label;
}

function showControls() {
  const outcomes = document.getElementById("outcomes");
  const counts = content.statistics[content.statistics.length - 1].counts;
  for (const [key, text] of [["all", "all"], ...Object.entries(content.outcomes)]) {
    const count = key === "all" ? clips.length : counts[key];
    if (key === "unlabelled" && !count) continue;
    const button = create("button", { type: "button", textContent: `${text} (${count})`, disabled: !count });
    button.dataset.outcome = key;
    button.addEventListener("click", () => { view.outcome = key; arrange(); });
    outcomes.append(button);
  }
  const classes = document.getElementById("class");
  classes.append(create("option", { value: "", textContent: "all" }));
  for (const name of [...new Set(clips.map(classOf))].sort()) classes.append(create("option", { value: name, textContent: name }));
  const order = document.getElementById("order");
  for (const [key, [text]] of Object.entries(orders)) order.append(create("option", { value: key, textContent: text }));
  const opacity = document.getElementById("opacity");
  opacity.value = view.opacity;

  classes.addEventListener("change", () => { view.className = classes.value; arrange(); });
  order.addEventListener("change", () => { view.order = order.value; arrange(); });
  const query = document.getElementById("query");
  query.addEventListener("input", () => { view.query = query.value.toLowerCase(); arrange(); });
  const scale = document.getElementById("scale");
  scale.addEventListener("change", () => { view.scale = scale.value; drawSeen(); });
  opacity.addEventListener("input", () => { view.opacity = Number(opacity.value); drawSeen(); });
  const speed = document.getElementById("speed");
  speed.addEventListener("change", () => { view.speed = Number(speed.value); });
  document.getElementById("play").addEventListener("click", togglePlaying);
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
}

function arrange() {
  const chosen = cards.filter(({ clip }) =>
    (view.outcome === "all" || clip.outcome === view.outcome) &&
    (view.className === "" || classOf(clip) === view.className) &&
    (view.query === "" || clip.video_id.toLowerCase().includes(view.query)));
  chosen.sort((a, b) => orders[view.order][1](a.clip, b.clip) || a.number - b.number);
  document.getElementById("clips").replaceChildren(...chosen.map((card) => card.element));
  document.getElementById("count").textContent = `${chosen.length} of ${clips.length} clips`;
  for (const button of document.querySelectorAll("#outcomes button")) {
    button.setAttribute("aria-pressed", String(button.dataset.outcome === view.outcome));
  }
}

// ---- a clip

function createCard(card) {
  const { clip } = card;
  const element = create("article", { className: "clip" });
  element.dataset.number = card.number;
  const facts = create("div", { className: "facts" },
    create("span", { textContent: content.outcomes[clip.outcome] }),
    create("span", { textContent: `label: ${clip.label === null ? "unknown" : clip.label}` }),
    create("span", { textContent: `maps of: ${clip.target}` }));
  element.append(create("h2", { textContent: clip.video_id }), facts);
  for (const warning of clip.warnings) element.append(create("div", { className: "warning", textContent: warning }));
  const panels = create("div", { className: "panels" });
  card.canvases = ["frames", ...panelNames].map((name, place) => {
    const canvas = create("canvas", { width: clip.width, height: clip.height });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name}, ${clip.video_id}`);
    const caption = create("figcaption", {}, create("div", { textContent: name }));
    const prediction = clip.predictions[place - 1];
    if (prediction) {
      const verdict = clip.label === null ? "" : prediction[0] === clip.label ? "right" : "wrong";
      caption.append(create("div", { className: verdict, textContent: `${prediction[0]} (${prediction[1].toFixed(2)})` }));
    } else if (place > models.length) {
      caption.append(create("div", { textContent: "red: more evidence in A, blue: in B" }));
    }
    panels.append(create("figure", {}, caption, canvas));
    return canvas;
  });
  const bar = create("canvas", { width: 1, height: 128 });
  card.ticks = [0, 1, 2].map(() => create("li"));
  card.bar = bar;
  card.legend = create("span");
  panels.append(create("div", { className: "legend" }, card.legend, create("div", {}, bar, create("ol", {}, ...card.ticks))));
  card.slider = create("input", { type: "range", min: 0, max: clip.num_frames - 1, step: 1, value: 0 });
  card.slider.setAttribute("aria-label", `frame of ${clip.video_id}`);
  card.slider.addEventListener("input", () => { setPlaying(false); showFrame(card, Number(card.slider.value)); });
  card.position = create("output");
  element.append(panels, create("div", { className: "scrubber" }, card.slider, card.position));
  card.element = element;
  showFrame(card, 0);
  observer.observe(element);
}

function showFrame(card, frame) {
  card.frame = frame;
  card.slider.value = frame;
  card.position.textContent = `frame ${frame + 1} of ${card.clip.num_frames}`;
  draw(card);
}

function findLimits({ clip, media }) {
  if (view.scale === "map") return clip.limits;
  if (view.scale === "rank") return clip.limits.map(() => media.rankLimit);
  const limits = view.scale === "page" ? pageLimits : clip.limits;
  return limits.map(() => Math.max(...limits));
}

function mix(pair, strength, channel) {
  return (1 - strength) * pair[0][channel] + strength * pair[1][channel];
}

/** Blend a value over a grey: opacity in proportion to |value|, as in the exported pictures. */
function blend(pixels, offset, grey, position) {
  const strength = Math.min(1, Math.abs(position));
  const opacity = view.opacity * strength;
  const pair = position >= 0 ? colors.positive : colors.negative;
  for (let channel = 0; channel < 3; channel += 1) {
    pixels[offset + channel] = grey + opacity * (mix(pair, strength, channel) - grey);
  }
}

function drawLegend(card, limits) {
  const context = card.bar.getContext("2d");
  const image = context.createImageData(1, 128);
  for (let row = 0; row < 128; row += 1) {
    blend(image.data, 4 * row, 128, 1 - (2 * row) / 127);
    image.data[4 * row + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  card.legend.textContent = view.scale === "rank" ? "signed rank of |M|" : `evidence, in ${card.clip.unit}`;
  const limit = view.scale === "map" ? null : limits[0];
  card.ticks[0].textContent = limit === null ? "each map's largest |M|" : `+${formatNumber(limit)}`;
  card.ticks[1].textContent = "0";
  card.ticks[2].textContent = limit === null ? "\u2212 the same" : formatNumber(-limit);
}

function draw(card) {
  const { clip, media } = card;
  if (!media) return;
  const limits = findLimits(card);
  drawLegend(card, limits);
  const left = (card.frame % clip.columns) * clip.width;
  const top = Math.floor(card.frame / clip.columns) * clip.height;
  const frames = card.canvases[0].getContext("2d", { willReadFrequently: true });
  frames.drawImage(media.frames, left, top, clip.width, clip.height, 0, 0, clip.width, clip.height);
  const original = frames.getImageData(0, 0, clip.width, clip.height).data;
  const start = card.frame * clip.width * clip.height;
  const tables = view.scale === "rank" ? media.ranks : media.values;
  for (let panel = 0; panel < panelNames.length; panel += 1) {
    const context = card.canvases[panel + 1].getContext("2d");
    const image = context.createImageData(clip.width, clip.height);
    for (let i = 0; i < clip.width * clip.height; i += 1) {
      const a = tables[0][media.maps[0][start + i]];
      const value = panel === 0 ? a : tables[1][media.maps[1][start + i]];
      const grey = colors.luma[0] * original[4 * i] + colors.luma[1] * original[4 * i + 1] + colors.luma[2] * original[4 * i + 2];
      blend(image.data, 4 * i, grey, (panel === 2 ? a - value : value) / (limits[panel] || 1));
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }
  card.element.dataset.drawn = card.frame;
}

function drawSeen() {
  for (const card of cards) if (card.seen) draw(card);
}

// ---- media: decoded when a clip is near the screen, given up when it is far

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = cards[Number(entry.target.dataset.number)];
    card.seen = entry.isIntersecting;
    if (card.seen) load(card); else { card.media = null; card.loading = false; }
  }
}, { rootMargin: "900px 0px" });

async function load(card) {
  if (card.media || card.loading) return;
  card.loading = true;
  try {
    const packed = await fetchMedia(card.number);
    const frames = await decode(`data:image/jpeg;base64,${packed.frames}`);
    const maps = await Promise.all(packed.maps.map(async (text) => unpack(card.clip, await decode(`data:image/png;base64,${text}`))));
    const values = maps.map((_, k) => createTable((share) => share * Math.abs(share) * card.clip.limits[k]));
    const ranks = maps.map(rankSteps);
    if (card.seen) card.media = { frames, maps, values, ranks, rankLimit: findRankLimit(maps, ranks) };
  } catch (error) {
    card.position.textContent = `media could not be loaded: ${error.message}`;
  }
  card.loading = false;
  draw(card);
}

function fetchMedia(number) {
  const inline = document.getElementById(`media-${number}`);
  if (inline) return Promise.resolve(JSON.parse(inline.textContent));
  return new Promise((resolve, reject) => {
    waiting.set(number, resolve);
    const name = `${String(number).padStart(5, "0")}.js`;
    const script = create("script", { src: `${encodeURIComponent(content.media_folder)}/${name}` });
    script.addEventListener("error", () => reject(new Error(`${content.media_folder}/${name} is missing`)));
    script.addEventListener("load", () => script.remove());
    document.head.append(script);
  });
}

async function decode(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

/** A grey grid of cells to bytes in the order frame, row, column. */
function unpack(clip, image) {
  const canvas = create("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const bytes = new Uint8Array(clip.num_frames * clip.height * clip.width);
  for (let frame = 0; frame < clip.num_frames; frame += 1) {
    const cell = context.getImageData((frame % clip.columns) * clip.width, Math.floor(frame / clip.columns) * clip.height, clip.width, clip.height).data;
    const start = frame * clip.height * clip.width;
    for (let i = 0; i < clip.height * clip.width; i += 1) bytes[start + i] = cell[4 * i];
  }
  return bytes;
}

/** What each byte of a map stands for, by its share of the steps from zero to the largest |M|, -1 to 1. */
function createTable(compute) {
  return Float64Array.from({ length: 256 }, (_, byte) => compute((byte - content.map_steps - 1) / content.map_steps));
}

/** What each byte stands for as a rank: the mean place of its |M| among all of the map's, up to 1, with its sign. */
function rankSteps(map) {
  const counts = new Array(content.map_steps + 2).fill(0);
  for (const byte of map) counts[Math.abs(byte - content.map_steps - 1)] += 1;
  let below = 0;
  const places = counts.map((count) => {
    below += count;
    return (below - (count - 1) / 2) / map.length;
  });
  return createTable((share) => Math.sign(share) * places[Math.round(Math.abs(share) * content.map_steps)]);
}

function findRankLimit(maps, ranks) {
  let largest = 0;
  for (let i = 0; i < maps[0].length; i += 1) {
    const places = maps.map((map, k) => ranks[k][map[i]]);
    if (places.length === 2) places.push(places[0] - places[1]);
    for (const place of places) largest = Math.max(largest, Math.abs(place));
  }
  return largest;
}

// ---- playing: all clips on the screen, each at the speed of the world

function setPlaying(playing) {
  view.playing = playing;
  document.getElementById("play").textContent = playing ? "pause" : "play";
}

function togglePlaying() {
  setPlaying(!view.playing);
  if (view.playing) {
    const now = performance.now();
    for (const card of cards) card.since = now;
    requestAnimationFrame(step);
  }
}

function step(now) {
  if (!view.playing) return;
  for (const card of cards) {
    const due = 1000 / (card.clip.fps * view.speed);
    if (card.seen && card.media && now - card.since >= due) {
      card.since = now - ((now - card.since) % due);
      showFrame(card, (card.frame + 1) % card.clip.num_frames);
    }
  }
  requestAnimationFrame(step);
}

showHeader();
showControls();
cards.forEach(createCard);
arrange();
