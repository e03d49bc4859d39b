// What the program tells becomes words, bars and lines. Names only ever enter as text.

import { drawLine } from "./chart.js";

const POINTS = 120;
const STALE_SECONDS = 5; // the program tells how it does once a second
const FAILURE_SECONDS = 60;

const element = (id) => document.getElementById(id);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function percent(share) {
  const value = share * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

export function draw(state) {
  setText(element("title"), state.title);
  document.title = `${state.title} · classify`;
  drawAnswer(state.answer);
  drawExits(state.exits, state.answer);
  drawTimes(state.ms);
  drawCelsius(state.celsius, state.status);
  drawHealth(state);
  showTrouble(troubleOf(state));
}

export function showTrouble(words) {
  element("trouble").hidden = !words;
  setText(element("trouble"), words);
}

// Short for the corner, and how bad it is: "live", "trouble" or "waiting".
export function condition(state) {
  const status = state.status;
  if (!status) return state.frames ? ["running", `${count(state.frames, "image")}`] : ["waiting", "waiting for an image"];
  if (status.state === "ended") return ["waiting", "source ended"];
  if (status.ago > STALE_SECONDS) return ["trouble", `no word for ${seconds(status.ago)}`];
  if (status.state === "stalled") return ["trouble", status.age === null ? "stalled" : `stalled for ${seconds(status.age)}`];
  if (status.state === "starting") return ["waiting", "source is starting"];
  return ["live", `live · ${status.fps.toFixed(1)} fps`];
}

function drawAnswer(answer) {
  if (!answer) return;
  const best = answer.top[0];
  const headline = element("headline");
  const settled = answer.steady === null || answer.steady === undefined;
  const none = settled ? answer.none : answer.steady === "none";
  const unsettled = !settled && answer.steady === "";
  setText(headline, none ? "none of these" : unsettled ? "not settled yet" : settled ? best.label : answer.steady);
  headline.parentElement.classList.toggle("unsure", none || unsettled);
  const kind = settled ? "this image" : "over the last images; the bars are this image’s";
  const doubt = answer.like ? `looks like ${answer.like}; ${best.label} is closest of the labels` : `${best.label} is closest, and too far away to be believed`;
  const note = answer.none ? doubt : settled && !answer.sure ? `not sure: less likely than all the others together; ${kind}` : kind;
  setText(element("headline-note"), answer.ago > STALE_SECONDS ? `${seconds(answer.ago)} ago: ${note}` : note);
  drawBars(element("bars"), answer.top.map((match, index) => ({
    name: match.label,
    share: match.score,
    number: percent(match.score),
    now: index === 0 && !answer.none,
  })));
}

function drawExits(exits, answer) {
  const total = sum(exits.total);
  const recent = sum(exits.recent);
  if (total) {
    const last = recent ? `Last ${count(recent, "image")}` : "None since the labels changed";
    setText(element("exits-note"), `${last} (all ${total.toLocaleString("en")} since the start)`);
  }
  const depth = exits.blocks[exits.blocks.length - 1];
  drawBars(element("exits"), exits.blocks.map((block, stage) => ({
    name: block === depth ? `full depth, block ${block}` : `after block ${block} of ${depth}`,
    share: recent ? exits.recent[stage] / recent : 0,
    number: recent ? percent(exits.recent[stage] / recent) : "–",
    aside: total ? `(${percent(exits.total[stage] / total)})` : "",
    now: answer !== null && answer.exit === stage,
  })));
}

function drawTimes(ms) {
  if (!ms.points.length) return;
  const newest = ms.points[ms.points.length - 1];
  setText(element("ms-note"), `${time(newest)} now · median ${time(ms.median)} · 90 % ≤ ${time(ms.p90)}`);
  drawLine(element("ms"), ms.points, POINTS);
}

function drawCelsius(celsius, status) {
  if (!celsius.points.length || !status || status.celsius === null) return;
  const lowest = Math.min(...celsius.points);
  const highest = Math.max(...celsius.points);
  const minutes = Math.max(1, Math.round((celsius.points.length * celsius.seconds) / 60));
  const span = minutes === 1 ? "minute" : `${minutes} minutes`;
  setText(element("celsius-note"),
    `${status.celsius.toFixed(1)} °C now · ${lowest.toFixed(0)} to ${highest.toFixed(0)} °C in the last ${span}`);
  drawLine(element("celsius"), celsius.points, POINTS, 30);
}

function drawHealth(state) {
  const status = state.status;
  const facts = [
    ["images answered", state.frames.toLocaleString("en")],
    ["images failed", state.failures.toLocaleString("en")],
  ];
  if (status) {
    facts.push(
      ["source restarted", times(status.restarts)],
      ["frames skipped", status.dropped.toLocaleString("en")],
      ["running for", seconds(status.seconds)],
      ["memory", `${(status.memory / 1e6).toFixed(0)} MB`],
    );
    if (status.throttled !== null) facts.push(["throttling", status.throttled || "none"]);
  }
  const list = element("health");
  while (list.children.length < facts.length) {
    const fact = document.createElement("div");
    fact.append(document.createElement("dt"), document.createElement("dd"));
    list.append(fact);
  }
  while (list.children.length > facts.length) list.lastElementChild.remove();
  facts.forEach(([name, value], index) => {
    setText(list.children[index].children[0], name);
    setText(list.children[index].children[1], value);
  });
}

// What is wrong, in words; "" while all is well.
function troubleOf({ status, failure }) {
  const stalled = status && status.state === "stalled";
  if (stalled) {
    const since = status.age === null ? "The source gives no image" : `The source stalled ${seconds(status.age)} ago`;
    return status.error ? `${since}: ${status.error}` : `${since}.`;
  }
  if (status && status.error) return status.error;
  if (failure && failure.ago < FAILURE_SECONDS) return `${failure.error} (${seconds(failure.ago)} ago)`;
  return "";
}

function drawBars(list, rows) {
  while (list.children.length < rows.length) list.append(newRow());
  while (list.children.length > rows.length) list.lastElementChild.remove();
  rows.forEach((row, index) => {
    const item = list.children[index];
    const [name, number, track] = item.children;
    item.classList.toggle("now", row.now);
    setText(name, row.name);
    setText(number.firstChild, row.number);
    setText(number.lastChild, row.aside ? ` ${row.aside}` : "");
    track.firstElementChild.style.width = `${(row.share * 100).toFixed(1)}%`;
  });
}

function newRow() {
  const item = document.createElement("li");
  const name = document.createElement("bdi");
  const number = document.createElement("span");
  number.className = "number";
  number.append(document.createElement("span"), document.createElement("small"));
  const track = document.createElement("span");
  track.className = "track";
  track.setAttribute("aria-hidden", "true");
  const fill = document.createElement("span");
  fill.className = "fill";
  track.append(fill);
  item.append(name, number, track);
  return item;
}

const sum = (numbers) => numbers.reduce((left, right) => left + right, 0);
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const times = (number) => (number === 0 ? "never" : count(number, "time"));
const time = (ms) => `${ms < 99.5 ? ms.toFixed(1) : ms.toFixed(0)} ms`;

function seconds(number) {
  if (number < 90) return `${Math.round(number)} s`;
  if (number < 5400) return `${Math.round(number / 60)} min`;
  if (number < 172800) return `${Math.round(number / 3600)} h`;
  return `${Math.round(number / 86400)} days`;
}
